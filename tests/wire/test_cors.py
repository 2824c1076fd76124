"""What a page in a browser may do."""

from __future__ import annotations

from aigw.serving.limits import SocketLimits
from aigw.testing.data_port import MemoryDataPort
from tests.wire.http_client import CLOSED, OPEN, Answer, HttpCase

PAGE = "https://app.example.com"

# What the JavaScript SDKs send: `openai`, `@anthropic-ai/sdk`, `@google/genai`, `@ai-sdk/*`, `@fal-ai/client`.
SENT_BY_SDKS = (
    "accept, anthropic-beta, anthropic-dangerous-direct-browser-access, anthropic-version, api-key, authorization,"
    " cf-aig-authorization, cf-aig-cache-ttl, cf-aig-metadata, content-type, idempotency-key, openai-beta,"
    " openai-organization, openai-project, user-agent, x-api-key, x-fal-target-url, x-goog-api-client, x-goog-api-key,"
    " x-stainless-arch, x-stainless-os, x-stainless-retry-count, x-stainless-runtime, x-title, xi-api-key"
)


class CorsCase(HttpCase):
    """A data port and a page."""

    def preflight(self, path: str = "/v1/local/default/openai/chat/completions", **headers: str) -> Answer:
        """What a browser asks before it sends what it was not sure of."""
        fields = {"Origin": PAGE, "Access-Control-Request-Method": "POST", **headers}
        sent = [(name.replace("_", "-"), value) for name, value in fields.items()]
        _, client = self.ask(path, method="OPTIONS", body=None, headers=sent)
        return self.answer(client)


class PreflightTests(CorsCase):
    """Questions before a request."""

    def test_all_that_sdks_send(self) -> None:
        """A page may send whatever the SDKs send; no token is wanted for the question, and nobody is asked."""
        answer = self.preflight(Access_Control_Request_Headers=SENT_BY_SDKS)
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(answer.header("access-control-allow-origin"), PAGE)
        allowed = (answer.header("access-control-allow-headers") or "").split(", ")
        self.assertEqual(allowed, SENT_BY_SDKS.split(", "))
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            self.assertIn(method, answer.header("access-control-allow-methods") or "")
        self.assertEqual(answer.header("vary"), "origin")
        self.assertEqual((self.port.upstream.calls, self.port.sink.begun), ([], []))

    def test_every_route(self) -> None:
        """The universal endpoint answers the question as well."""
        self.assertEqual(self.preflight("/v1/local/default").status, 204)

    def test_other_headers(self) -> None:
        """A header that no SDK sends is left out of the answer, so the browser refuses to send it; so is nonsense."""
        answer = self.preflight(
            Access_Control_Request_Headers="cookie, x-forwarded-for, a b, , content-type, X-API-KEY"
        )
        self.assertEqual(answer.header("access-control-allow-headers"), "content-type, x-api-key")

    def test_plain_options(self) -> None:
        """OPTIONS without a page behind it is a request like any other: with a token it reaches the provider."""
        path = "/v1/local/open/openai/models"
        answer = self.answered(path, method="OPTIONS", body=None)
        self.assertEqual((answer.status, self.call.request.method), (200, b"OPTIONS"))
        _, client = self.ask("/v1/local/default/openai/models", method="OPTIONS", body=None)
        self.assert_refused(self.answer(client), 401, 2009)


class OriginTests(CorsCase):
    """Pages of other origins, where the owner lists those that may call."""

    sockets = SocketLimits(allowed_origins=(PAGE,))

    def test_listed(self) -> None:
        """A page of a listed origin reads the answer and the gateway's headers; so it does with an error."""
        for path, status in (("/v1/local/open/openai/models", 200), ("/v1/local/default/openai/models", 401)):
            answer = self.answered(path, method="GET", body=None, headers=[("Origin", PAGE)])
            self.assertEqual((answer.status, answer.header("access-control-allow-origin")), (status, PAGE))
            self.assertIn("cf-aig-log-id", answer.header("access-control-expose-headers") or "")

    def test_other_pages(self) -> None:
        """Any other page is 403 with code 4030 on every route, by the question already, and may not even read that."""
        for origin in ("https://evil.test", "https://app.example.com.evil.test", "null", ""):
            answers = [self.preflight(Origin=origin)]
            for path in ("/v1/local/open/openai/models", "/v1/local/open", "/v1/local/open/anthropic"):
                method = "HEAD" if path.endswith("anthropic") else "POST"
                if method == "POST":
                    _, client = self.ask(path, headers=[("Origin", origin)])
                    answers.append(self.answer(client))
            for answer in answers:
                self.assert_refused(answer, 403, 4030)
                self.assertIsNone(answer.header("access-control-allow-origin"))
        self.assertEqual((self.port.upstream.calls, self.port.sink.begun), ([], []))

    def test_two_origins(self) -> None:
        """Two origins could mean two pages: 400."""
        _, client = self.ask(headers=[("Origin", PAGE), ("Origin", "https://evil.test")])
        self.assert_refused(self.answer(client), 400, 4000)

    def test_no_page(self) -> None:
        """A program that is no browser sends no origin, is not asked for one and gets no such headers."""
        answer = self.answered("/v1/local/open/openai/models", method="GET", body=None)
        self.assertEqual(answer.status, 200)
        self.assertFalse([name for name, _ in answer.fields if name.startswith("access-control-") or name == "vary"])

    def test_provider_rights_are_not_passed_on(self) -> None:
        """What the provider lets pages do is not what the gateway lets them do."""
        port = self.port = MemoryDataPort(gateways=(CLOSED, OPEN))
        link, client = self.ask(headers=[("Origin", PAGE)])
        port.upstream.last.answer(
            b"{}", headers=((b"access-control-allow-origin", b"*"), (b"access-control-allow-credentials", b"true"))
        )
        link.settle()
        answer = self.answer(client)
        self.assertEqual(answer.header("access-control-allow-origin"), PAGE)
        self.assertIsNone(answer.header("access-control-allow-credentials"))

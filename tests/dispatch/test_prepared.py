"""Requests that get their credential first, in whole exchanges."""

from __future__ import annotations

import base64
import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from aigw.dispatch.exchange import Exchange
from aigw.dispatch.opening import Opening
from aigw.dispatch.prepared import send_prepared
from aigw.errors import ClientGone, InternalError, ProviderFailed
from aigw.providers.settings import ProviderSettings
from aigw.testing.data_port import MemoryDataPort
from aigw.testing.event_stream import EVENT_STREAM, chunk, event
from aigw.testing.upstream import ScriptedUpstream
from aigw.values.step import Clocks, Step, UpstreamRequest
from tests.dispatch.parts import ANONYMOUS, OPEN, ListReply
from tests.providers.token_endpoint import service_account
from tests.upstream.receiver import Recorder

VERTEX = "v1/projects/p/locations/us-central1/publishers/google/models/gemini-2.5-pro:generateContent"
INVOKE = "bedrock-runtime/us-east-1/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/invoke-with-response-stream"
CONVERSE = "bedrock-runtime/us-east-1/model/amazon.nova-lite-v1%3A0/converse-stream"
KEYS = ProviderSettings(access_key_id="AKIAFAKE", secret_access_key="fake-secret")
TOKEN = b'{"access_token":"ya29.fake","expires_in":3599,"token_type":"Bearer"}'


def step(provider: str, endpoint: str, authorization: bytes = b"") -> Step:
    """One step."""
    headers = ((b"authorization", authorization),) if authorization else ()
    return Step(provider, endpoint, headers, b'{"messages":[]}')


class ExchangeCase(SynchronousTestCase):
    """Exchanges with scripted vendors and token endpoints."""

    def setUp(self) -> None:
        self.port = MemoryDataPort(providers={"aws-bedrock": KEYS})
        self.upstream = self.port.upstream

    def open(self, *steps: Step, wants_whole: bool = True) -> tuple[Exchange, ListReply]:
        reply = ListReply()
        reply.wants_whole = wants_whole
        opening = Opening(OPEN, ANONYMOUS, "", "websocket", "", steps)
        exchange = self.port.dispatcher.open(opening, reply)
        self.port.clock.advance(0)
        return exchange, reply

    def record(self) -> Any:
        self.port.clock.advance(0)
        return self.port.sink.ended[-1]


class MintedTests(ExchangeCase):
    """A token is fetched before the vendor is asked."""

    ACCOUNT = b"Bearer " + base64.b64encode(service_account())

    def test_token_then_vendor(self) -> None:
        """The vendor gets the token, the client its answer, and the log holds neither account nor token."""
        _, reply = self.open(step("google-vertex-ai", VERTEX, self.ACCOUNT))
        self.assertEqual(self.upstream.last.request.url, b"https://oauth2.googleapis.com/token")
        self.upstream.last.answer(TOKEN)
        request = self.upstream.last.request
        self.assertEqual(request.url, b"https://us-central1-aiplatform.googleapis.com/" + VERTEX.encode())
        self.assertEqual(dict(request.headers)[b"authorization"], b"Bearer ya29.fake")
        self.upstream.last.answer(b'{"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4}}')
        record = self.record()
        self.assertTrue(record.success)
        self.assertEqual((record.usage.tokens_in, record.usage.tokens_out), (3, 4))
        self.assertIsNone(reply.outcome.error)
        written = repr(record)
        for secret in ("ya29", "PRIVATE KEY", self.ACCOUNT.decode()[7:47]):
            self.assertNotIn(secret, written)

    def test_no_token_no_answer(self) -> None:
        """When Google refuses, the client is told why, and the next step is tried where there is one."""
        _, reply = self.open(step("google-vertex-ai", VERTEX, self.ACCOUNT))
        self.upstream.last.answer(b'{"error":"invalid_grant"}', 400)
        self.assertFalse(self.record().success)
        self.assertIn("Google gave no access token: status 400, invalid_grant", reply.outcome.error.message)
        self.open(step("google-vertex-ai", VERTEX, self.ACCOUNT), step("sandbox", "chat/completions"))
        self.upstream.last.fail(ProviderFailed("down"))
        self.assertTrue(self.upstream.last.request.url.startswith(b"sandbox://"))

    def test_a_client_that_leaves_while_its_token_is_fetched(self) -> None:
        """The token endpoint's connection is closed, and the vendor is never asked."""
        exchange, _ = self.open(step("google-vertex-ai", VERTEX, self.ACCOUNT))
        exchange.abandon(ClientGone())
        self.assertTrue(self.upstream.last.stopped)
        self.assertEqual(self.record().error_code, ClientGone.code)
        self.assertEqual(len(self.upstream.calls), 1)

    def test_a_client_that_is_slow_meanwhile(self) -> None:
        """A pause during the minting holds for the vendor's answer, too."""
        exchange, _ = self.open(step("google-vertex-ai", VERTEX, self.ACCOUNT))
        exchange.pause()
        self.upstream.last.answer(TOKEN)
        self.assertTrue(self.upstream.last.paused)
        exchange.resume()
        self.assertFalse(self.upstream.last.paused)

    def test_an_account_that_cannot_be_used(self) -> None:
        """A client's broken account is the client's mistake, and nobody is asked."""
        account = b"Bearer " + base64.b64encode(service_account(private_key="hunter2"))
        _, reply = self.open(step("google-vertex-ai", VERTEX, account))
        self.assertEqual(self.record().status, 400)
        self.assertIn("service account", reply.outcome.error.message)
        self.assertNotIn("hunter2", reply.outcome.error.message)
        self.assertEqual(self.upstream.calls, [])


class SignedTests(ExchangeCase):
    """Bedrock, signed by the gateway, streaming in AWS's form."""

    def test_an_invocation_streams(self) -> None:
        """A client on a WebSocket gets the model's own events, and the log its usage."""
        _, reply = self.open(step("aws-bedrock", INVOKE))
        call = self.upstream.last
        self.assertIn(b"AKIAFAKE", dict(call.request.headers)[b"authorization"])
        start = {"type": "message_start", "message": {"usage": {"input_tokens": 25, "output_tokens": 1}}}
        delta = {"type": "message_delta", "usage": {"output_tokens": 15}}
        stream = b"".join(map(chunk, (start, delta, {"type": "message_stop"})))
        call.head(200, EVENT_STREAM)
        call.data(stream[:100], stream[100:])
        call.complete()
        record = self.record()
        self.assertTrue(record.complete)
        self.assertEqual((record.usage.tokens_in, record.usage.tokens_out), (25, 15))
        self.assertEqual(record.target.model, "us.anthropic.claude-sonnet-4-20250514-v1:0")
        self.assertEqual([json.loads(one.data)["type"] for one in reply.events][-1], "message_stop")

    def test_bytes_pass_unchanged(self) -> None:
        """A route that passes bytes on gives AWS's own form to AWS's own SDK."""
        _, reply = self.open(step("aws-bedrock", CONVERSE), wants_whole=False)
        stream = event("messageStop", {"stopReason": "end_turn"}) + event("metadata", {"usage": {"inputTokens": 1}})
        self.upstream.last.answer(stream, headers=EVENT_STREAM)
        self.assertTrue(self.record().complete)
        self.assertEqual(b"".join(reply.chunks), stream)

    def test_a_stream_that_is_cut(self) -> None:
        """A stream without its end, or cut within a message, is logged as truncated."""
        stream = event("messageStop", {"stopReason": "end_turn"}) + event("metadata", {"usage": {"inputTokens": 1}})
        for length in (0, 50, len(stream) - 1):
            self.open(step("aws-bedrock", CONVERSE))
            self.upstream.last.answer(stream[:length], headers=EVENT_STREAM)
            record = self.record()
            self.assertEqual((record.complete, record.error_code), (False, 4024), length)

    def test_a_stream_that_is_damaged(self) -> None:
        """A wrong checksum ends the answer, and closes the connection."""
        stream = event("messageStop", {"stopReason": "end_turn"})
        self.open(step("aws-bedrock", CONVERSE))
        self.upstream.last.head(200, EVENT_STREAM)
        self.upstream.last.data(stream[:-1] + b"\x00")
        self.assertTrue(self.upstream.last.stopped)
        self.assertEqual(self.record().error_code, 4026)


class Late:
    """Credentials that a test gives when it likes."""

    def __init__(self) -> None:
        self.preparing: Deferred[UpstreamRequest] = Deferred()

    def prepare(self, request: UpstreamRequest) -> Deferred[UpstreamRequest]:
        return self.preparing


class CallTests(SynchronousTestCase):
    """What happens between the request and its credential."""

    def setUp(self) -> None:
        self.upstream, self.late, self.receiver = ScriptedUpstream(), Late(), Recorder()
        self.request = UpstreamRequest(b"POST", b"https://vendor.example/", (), b"", Clocks())
        credentials: Any = self.late
        self.call = send_prepared(self.upstream, self.request, credentials, self.receiver)

    def test_a_defect_ends_the_call(self) -> None:
        """A failure that nobody thought of is told once, and logged."""
        self.late.preparing.errback(ZeroDivisionError())
        self.assertEqual(self.receiver.heard, ["failed"])
        self.assertIsInstance(self.receiver.error, InternalError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stopping_is_silent(self) -> None:
        """After `stop` the receiver hears nothing, and nothing is sent, however often it is stopped."""
        self.call.stop()
        self.call.stop()
        self.assertEqual((self.receiver.heard, self.upstream.calls), ([], []))

    def test_the_call_goes_on(self) -> None:
        """Once it is sent, pausing and stopping reach the provider."""
        self.late.preparing.callback(self.request)
        self.call.pause()
        self.assertTrue(self.upstream.last.paused)
        self.call.resume()
        self.assertFalse(self.upstream.last.paused)
        self.call.stop()
        self.assertTrue(self.upstream.last.stopped)

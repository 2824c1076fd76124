"""The HTTP routes: what reaches a provider, and what comes back."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import ConnectFailed
from aigw.serving.limits import HttpLimits
from aigw.testing.data_port import TOKEN, MemoryDataPort
from aigw.testing.upstream import JSON
from aigw.values.gateway import Gateway
from tests.wire.http_client import CHAT, FRONT, Answer, HttpCase, read_answers, request_bytes

UNIVERSAL = "/v1/local/open"
NATIVE = "/v1/local/open/openai/chat/completions"


def step(provider: str = "openai", endpoint: str = "chat/completions", **fields: Any) -> dict[str, Any]:
    """A step of a universal request."""
    return {"provider": provider, "endpoint": endpoint, "headers": {}, "query": {"model": "m"}, **fields}


class UniversalTests(HttpCase):
    """`POST /v1/{account}/{gateway}`."""

    def post(self, body: Any, **request: Any) -> Answer:
        """Ask; what no provider was asked for is answered already."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.link, self.client = self.ask(UNIVERSAL, body=data, **request)
        return (read_answers(self.client.received) or [Answer()])[0]

    def finished(self) -> Answer:
        """The answer, after what the test made the provider say."""
        self.link.settle()
        return self.answer(self.client)

    def test_list_of_steps(self) -> None:
        """The first step that succeeds answers, byte for byte, and its index is in `cf-aig-step`."""
        self.post([step(), step("anthropic", "v1/messages"), step("groq")])
        self.call.answer(b'{"error": 1}', status=500)
        self.call.answer(b'{ "id" : "two" }', headers=((b"content-type", b"application/json"), (b"x-ratelimit", b"9")))
        answer = self.finished()
        self.assertEqual((answer.status, answer.body), (200, b'{ "id" : "two" }'))
        self.assertEqual((answer.header("cf-aig-step"), answer.header("x-ratelimit")), ("1", "9"))
        hosts = [call.request.url.split(b"/")[2] for call in self.port.upstream.calls]
        self.assertEqual(hosts, [b"api.openai.com", b"api.anthropic.com"])
        (record,) = self.port.sink.ended
        self.assertEqual((record.origin.request_type, record.step, record.success), ("universal", 1, True))
        self.assert_no_leftovers()

    def test_single_object(self) -> None:
        """One step needs no list, with and without a slash behind the address and with a query string."""
        for path in (UNIVERSAL, f"{UNIVERSAL}/", f"{UNIVERSAL}?x=1", f"{UNIVERSAL}/?x=1"):
            answer = self.answered(path, body=json.dumps(step()).encode())
            self.assertEqual((answer.status, answer.header("cf-aig-step")), (200, "0"), path)
            self.assertEqual(self.call.request.body, b'{"model": "m"}')

    def test_all_steps_fail(self) -> None:
        """When every step fails, the last one's error comes back as its provider worded it."""
        self.post([step(), step("groq")])
        self.call.answer(b'{"error": "first"}', status=500)
        self.call.answer(b'{"error": "last"}', status=429)
        answer = self.finished()
        self.assertEqual((answer.status, answer.body, answer.header("cf-aig-step")), (429, b'{"error": "last"}', "1"))

    def test_nobody_answers(self) -> None:
        """When no provider can be reached, the gateway says so, and the log knows every attempt."""
        self.post([step(), step("groq")])
        self.call.fail(ConnectFailed())
        self.call.fail(ConnectFailed())
        answer = self.finished()
        self.assert_refused(answer, 400, 2005)
        self.assertEqual(answer.header("cf-aig-step"), "1")
        (record,) = self.port.sink.ended
        self.assertEqual([attempt.error_code for attempt in record.attempts], [2005, 2005])
        self.assert_no_leftovers()

    def test_config_of_a_step(self) -> None:
        """`config` of a step sets its time and its attempts; the next step has its own."""
        self.post([step(config={"requestTimeout": 1_500, "maxAttempts": 2, "retryDelay": 0}), step("groq")])
        self.assertEqual(self.call.request.clocks.first_byte_s, 1.5)
        self.call.answer(b"{}", status=503)
        self.link.advance(0.2)
        self.assertEqual(len(self.port.upstream.calls), 2)
        self.call.answer(b"{}", status=503)
        self.assertIn(b"api.groq.com", self.call.request.url)
        self.assertEqual(self.call.request.clocks.first_byte_s, 300.0)

    def test_precedence(self) -> None:
        """A setting of the step goes before that of the request, which goes before the gateway's."""
        gateway = Gateway(id="open", authentication=False, retry_max_attempts=1)
        self.port = MemoryDataPort(gateways=(gateway,), front=FRONT)
        own = step(headers={"cf-aig-request-timeout": 1_000, "Authorization": "Bearer sk-fake"})
        self.post([own, step("groq")], headers=[("cf-aig-request-timeout", "2000"), ("CF-AIG-Max-Attempts", "2")])
        seen = []
        for _ in range(4):
            seen.append((self.call.request.url.split(b"/")[2], self.call.request.clocks.first_byte_s))
            self.call.answer(b"{}", status=503)
            self.link.advance(1.0)
        # The last attempt of the last step waits for as long as the owner lets it.
        groq = [(b"api.groq.com", 2.0), (b"api.groq.com", 300.0)]
        self.assertEqual(seen, [(b"api.openai.com", 1.0)] * 2 + groq)
        self.assertEqual(self.finished().status, 503)

    def test_settings_stay_here(self) -> None:
        """Neither the request's own headers nor a step's `cf-aig-*` reach a provider; the step's others do."""
        self.post(
            step(headers={"Authorization": "Bearer sk-fake", "cf-aig-metadata": {"user": 1}, "X-Custom": "yes"}),
            headers=[("Authorization", "Bearer sk-of-the-request"), ("X-Other", "no"), ("Cookie", "a=b")],
        )
        sent = self.sent_headers()
        self.assertEqual((sent[b"authorization"], sent[b"x-custom"]), (b"Bearer sk-fake", b"yes"))
        self.assertFalse([name for name in sent if name.startswith(b"cf-aig-") or name in (b"x-other", b"cookie")])
        self.assertEqual(json.loads(self.port.sink.begun[0].origin.metadata), {"user": 1})

    def test_bytes_of_the_query(self) -> None:
        """The body reaches the provider exactly as it was written: spaces, order, numbers, escapes, lone surrogates."""
        for query in (
            b'{ "b":1,  "a": 1.0e0, "a": 2 }',
            b'{"text": "\\ud800 \\u0000 caf\xc3\xa9"}',
            b'{"n": ' + b"9" * 400 + b"}",
            b"[]",
            b'"text"',
        ):
            answer = self.answered(
                UNIVERSAL, body=b'[{"provider":"openai","endpoint":"responses","query":%b,"headers":{}}]' % query
            )
            self.assertEqual((answer.status, self.call.request.body), (200, query))

    def test_no_request_at_all(self) -> None:
        """What is no list of steps is 400 with a code that says why; each leaves a row."""
        deep = b'{"provider":"openai","endpoint":"x","query":' + b"[" * 600 + b"]" * 600 + b"}"
        for body, code in (
            (b"", 4000),
            (b"{", 4000),
            (b"null", 4003),
            (b"[null]", 4003),
            (b"7", 4003),
            (b"[]", 4002),
            (b"{}", 4002),
            (b'[{"provider":"openai","endpoint":"x"}]', 4002),
            (b'[{"provider":"openai","query":{}}]', 4002),
            (b'[{"endpoint":"x","query":{}}]', 4002),
            (b'{"provider":5,"endpoint":"x","query":{}}', 4003),
            (b'{"provider":"openai","endpoint":"x","query":{},"provider":"groq"}', 4000),
            (b'{"provider":"\\ud800","endpoint":"x","query":{}}', 4000),
            (b'{"provider":"openai","endpoint":"x","query":{"a":NaN}}', 4000),
            (b'{"provider":"openai","endpoint":"x","query":{"a":"\xff"}}', 4000),
            (b'{"provider":"openai","endpoint":"x","query":{}} {}', 4000),
            (b'{"provider":"opnai","endpoint":"x","query":{}}', 2008),
            (json.dumps([step()] * 17).encode(), 4003),
            (json.dumps(step(headers={"a b": "c"})).encode(), 4003),
            (json.dumps(step(headers={"a": "b\r\nc: d"})).encode(), 4003),
            (json.dumps(step(headers={"a": None})).encode(), 4003),
            (json.dumps(step(config=[])).encode(), 4003),
        ):
            rows = len(self.port.sink.ended)
            answer = self.post(body)
            self.assert_refused(answer, 400, code)
            self.assertEqual(len(self.port.sink.ended), rows + 1, body)
            self.assertEqual(self.port.sink.ended[-1].error_code, code)
        self.assertIn(self.post(deep).status, (0, 400))
        self.assertEqual([call for call in self.port.upstream.calls if call.request.body == b"{}"], [])

    def test_path_tricks(self) -> None:
        """No `endpoint` leaves its provider's base address: each trick is 400 with code 4003, and nobody is asked."""
        for endpoint in (
            "../admin",
            "v1/../../admin",
            "a/%2e%2e/b",
            "a/%252e%252e/b",
            "..%2fadmin",
            "//evil.test/x",
            "/%2fevil.test",
            "http://evil.test/x",
            "https:/evil.test",
            "@evil.test/x",
            "user:pass@evil.test",
            "chat#completions",
            "chat%23completions",
            "chat\r\nHost: evil.test",
            "chat%0d%0aHost:%20evil.test",
            "chat\\..\\admin",
            "chat\x00",
        ):
            self.assert_refused(self.post(step(endpoint=endpoint)), 400, 4003)
        self.assertEqual(self.port.upstream.calls, [])

    def test_too_large(self) -> None:
        """A body beyond the limit is 413 before it is read: the head alone is answered, with nothing logged."""
        head = b"POST /v1/local/open HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 4097\r\n"
        _, client = self.send(head + b"Expect: 100-continue\r\n\r\n")
        self.assert_refused(self.answer(client), 413, 4004)
        chunked = b"POST /v1/local/open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        _, client = self.send(chunked + b"1001\r\n" + b" " * 4_097 + b"\r\n")
        self.assert_refused(self.answer(client), 413, 4004)
        self.assertEqual(self.port.sink.begun, [])

    def test_other_methods(self) -> None:
        """The address takes POST; what else is asked is 405 and says what is allowed."""
        for method in ("PUT", "DELETE", "PATCH", "BREW", "OPTIONS"):
            _, client = self.ask(UNIVERSAL, method=method, body=None)
            answer = self.answer(client)
            self.assert_refused(answer, 405, 4050)
            self.assertEqual(answer.header("allow"), "GET, POST")
        _, client = self.ask(UNIVERSAL, method="GET", body=None)
        self.assert_refused(self.answer(client), 426, 4260)
        self.assertEqual(self.answer(client).header("upgrade"), "websocket")
        self.assertEqual(self.port.sink.begun, [])

    def test_event_id(self) -> None:
        """The request's `cf-aig-event-id` comes back and is logged; without one it is the log id."""
        answer = self.answered(UNIVERSAL, body=json.dumps(step()).encode(), headers=[("cf-aig-event-id", "mine")])
        self.assertEqual((answer.header("cf-aig-event-id"), self.port.sink.ended[-1].origin.event_id), ("mine", "mine"))
        answer = self.answered(UNIVERSAL, body=json.dumps(step()).encode())
        self.assertEqual(answer.header("cf-aig-event-id"), answer.header("cf-aig-log-id"))
        self.assertEqual(answer.header("cf-aig-request-id"), answer.header("cf-aig-log-id"))
        self.assertEqual(answer.header("cf-aig-cache-status"), "MISS")

    @given(st.binary(max_size=80))
    @settings(max_examples=150, deadline=None)
    def test_any_body_is_answered(self, body: bytes) -> None:
        """Whatever the body holds, there is one answer in JSON and one row."""
        self.setUp()
        self.assertEqual(self.post(body).status, 400, body)
        self.assertEqual(len(self.port.sink.ended), 1)
        self.assert_no_leftovers()


class NativeTests(HttpCase):
    """`/v1/{account}/{gateway}/{provider}/{rest}`."""

    def test_everything_passes(self) -> None:
        """Method, path, query string, headers and body reach the provider, and its answer the client, unchanged."""
        body = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\x00\xff\r\n--x--"
        link, client = self.ask(
            "/v1/local/open/openai/files/f%20one?purpose=a%2Fb&x=%C3%A9&empty=",
            method="PUT",
            body=body,
            content_type="multipart/form-data; boundary=x",
            headers=[("Authorization", "Bearer sk-fake"), ("OpenAI-Beta", "assistants=v2"), ("X-Stainless-OS", "L")],
        )
        request = self.call.request
        self.assertEqual(request.method, b"PUT")
        self.assertEqual(request.url, b"https://api.openai.com/v1/files/f%20one?purpose=a%2Fb&x=%C3%A9&empty=")
        sent = self.sent_headers()
        self.assertEqual(sent[b"content-type"], b"multipart/form-data; boundary=x")
        self.assertEqual((sent[b"authorization"], sent[b"openai-beta"]), (b"Bearer sk-fake", b"assistants=v2"))
        self.call.answer(
            b"\x00\x01binary",
            status=418,
            headers=(
                (b"content-type", b"audio/mpeg"),
                (b"content-length", b"8"),
                (b"x-request-id", b"req_1"),
                (b"set-cookie", b"a=b"),
                (b"set-cookie", b"c=d"),
                (b"retry-after", b"3"),
                (b"date", b"Mon, 01 Jan 2024 00:00:00 GMT"),
                (b"server", b"cloudflare"),
            ),
        )
        link.settle()
        answer = self.answer(client)
        self.assertEqual((answer.status, answer.body), (418, b"\x00\x01binary"))
        for name, value in (
            ("content-type", "audio/mpeg"),
            ("content-length", "8"),
            ("x-request-id", "req_1"),
            ("retry-after", "3"),
            ("server", "cloudflare"),
        ):
            self.assertEqual(answer.header(name), value)
        self.assertEqual([value for name, value in answer.fields if name == "set-cookie"], ["a=b", "c=d"])
        self.assert_no_leftovers()

    def test_any_method(self) -> None:
        """Every method passes, with a body and without one."""
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
            for body in (None, CHAT):
                self.assertEqual(self.answered(method=method, body=body).status, 200, method)
                self.assertEqual((self.call.request.method, self.call.request.body), (method.encode(), body or b""))

    def test_what_stays_with_one_connection(self) -> None:
        """Headers of one hop stay on their side, both ways; so do those that tell where the client is."""
        link, client = self.ask(
            headers=[
                ("Connection", "keep-alive, X-Hop"),
                ("X-Hop", "1"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Authorization", "Basic eA=="),
                ("TE", "trailers"),
                ("Upgrade", "h2c"),
                ("Cookie", "session=1"),
                ("X-Forwarded-For", "10.0.0.1"),
                ("X-Forwarded-Host", "inside.test"),
                ("Forwarded", "for=10.0.0.1"),
                ("X-Real-IP", "10.0.0.1"),
                ("Via", "1.1 proxy"),
                ("cf-aig-metadata", '{"a": 1}'),
                ("cf-aig-collect-log", "true"),
                ("Accept-Encoding", "gzip"),
                ("X-Kept", "yes"),
            ]
        )
        sent = self.sent_headers()
        self.assertEqual(
            set(sent), {b"x-kept", b"content-type", b"accept-encoding", b"user-agent"}, "something passed that may not"
        )
        self.assertEqual(sent[b"accept-encoding"], b"identity")
        self.call.answer(
            b"{}",
            headers=(
                *JSON,
                (b"connection", b"close, x-secret-hop"),
                (b"x-secret-hop", b"1"),
                (b"keep-alive", b"timeout=5"),
                (b"proxy-authenticate", b"Basic"),
                (b"trailer", b"x"),
                (b"upgrade", b"h2"),
                (b"cf-aig-log-id", b"forged"),
                (b"access-control-allow-origin", b"*"),
                (b"x-kept", b"yes"),
            ),
        )
        link.settle()
        answer = self.answer(client)
        names = {name for name, _ in answer.fields}
        self.assertFalse(names & {"keep-alive", "proxy-authenticate", "trailer", "upgrade", "x-secret-hop"})
        self.assertNotIn("access-control-allow-origin", names)
        self.assertNotEqual(answer.header("cf-aig-log-id"), "forged")
        self.assertEqual(answer.header("x-kept"), "yes")
        self.assertFalse(client.lost)

    def test_redirect_is_passed_on(self) -> None:
        """A redirect of the provider is the client's affair; the gateway does not follow it."""
        link, client = self.ask()
        self.call.answer(b"", status=307, headers=((b"location", b"https://evil.test/"), (b"content-length", b"0")))
        link.settle()
        answer = self.answer(client)
        self.assertEqual((answer.status, answer.header("location")), (307, "https://evil.test/"))
        self.assertEqual(len(self.port.upstream.calls), 1)

    def test_unknown_provider(self) -> None:
        """A slug that is not in the table is 400 with code 2008, and says what may have been meant."""
        for slug in ("opnai", "custom-none", "OPENAI", "compat"):
            answer = self.answered(f"/v1/local/open/{slug}/x")
            self.assert_refused(answer, 400, 2008)
        self.assertEqual(self.port.upstream.calls, [])

    def test_path_tricks(self) -> None:
        """No path leaves its provider's base address: each trick is a 4xx in JSON, and nobody is asked."""
        for rest in (
            "openai/../anthropic/v1/messages",
            "openai/v1/../../../admin",
            "openai/%2e%2e/x",
            "openai/%252e%252e/x",
            "openai/..%2fx",
            "openai//evil.test/x",
            "openai/%2fevil.test",
            "openai/%2f%2fevil.test",
            "openai/https://evil.test/x",
            "openai/@evil.test/x",
            "openai/user%40evil.test/x",
            "openai/a#b",
            "openai/a%23b",
            "openai/a%0d%0aHost:%20evil.test",
            "openai/a%00",
            "openai/a\\..\\b",
            "openai/.;x/b",
            "%2e%2e/openai/x",
            "../openai/x",
            "//openai/x",
            "openai%2fx/y",
            "@evil.test/x",
        ):
            for content_type in ("application/json", "application/octet-stream"):
                _, client = self.ask(f"/v1/local/open/{rest}", content_type=content_type)
                answer = self.answer(client)
                self.assertIn(answer.status, (400, 404), rest)
                self.assertIn(answer.json["internalCode"], (4003, 4040, 2008), rest)
        self.assertEqual(self.port.upstream.calls, [])
        self.assert_no_leftovers()

    def test_targets_that_are_no_path(self) -> None:
        """A target in another form than a path is 404: nothing in it is taken for a host."""
        for target in ("http://evil.test/v1/local/open/openai/x", "*", "evil.test:443", "v1/local/open/openai/x"):
            _, client = self.send(request_bytes(target))
            self.assert_refused(self.answer(client), 404, 4040)

    def test_methods_that_are_none(self) -> None:
        """A method that would break out of the provider's request line, or ask for a tunnel, is a 4xx."""
        for method in ("CONNECT", "TRACE", "G=T", "get", "GET:"):
            for content_type in ("application/json", "application/octet-stream"):
                _, client = self.ask(method=method, content_type=content_type)
                answer = self.answer(client)
                self.assertTrue(400 <= answer.status < 500, (method, answer.status))
        self.assertEqual(self.port.upstream.calls, [])

    def test_held_and_passed(self) -> None:
        """JSON within the limit is held, so that it can be tried again; longer JSON passes like any other body."""
        self.answered(body=b'"' + b"x" * 4_094 + b'"')
        self.assertIsInstance(self.call.request.body, bytes)
        self.answered(body=b'"' + b"x" * 4_095 + b'"')
        self.assertNotIsInstance(self.call.request.body, bytes)
        self.answered(content_type=None, body=b"{}")
        self.assertIsInstance(self.call.request.body, bytes)
        self.answered(content_type="application/x-ndjson", body=b"{}")
        self.assertIsInstance(self.call.request.body, bytes)

    def test_chunked_json_has_a_limit(self) -> None:
        """JSON that comes in chunks is held, too, and cannot grow beyond the limit."""
        head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        _, client = self.send(head % NATIVE.encode() + b"2\r\n{}\r\n0\r\n\r\n")
        self.assertEqual(self.call.request.body, b"{}")
        _, client = self.send(head % NATIVE.encode() + b"1001\r\n" + b"x" * 4_097 + b"\r\n")
        self.assert_refused(self.answer(client), 413, 4004)

    def test_log_of_a_native_request(self) -> None:
        """The row names the provider, the path and the model, and has both bodies."""
        self.answered(NATIVE + "?secret=sk-fake")
        (record,) = self.port.sink.ended
        self.assertEqual(record.origin.request_type, "native")
        self.assertEqual(
            (record.target.provider, record.target.path, record.target.model), ("openai", "chat/completions", "gpt-4o")
        )
        self.assertEqual((record.request_body, record.response_body), (CHAT, b"{}"))

    def test_full_spool(self) -> None:
        """What could not be logged is not asked: 503 with code 4011, also for a body that would pass through."""
        self.port.sink.accepting = False
        for content_type in ("application/json", "application/octet-stream"):
            for headers in ((), (("Expect", "100-continue"),)):
                link, client = self.ask(content_type=content_type, headers=headers)
                self.assert_refused(self.answer(client), 503, 4011)
                link.vanish()
        self.assertEqual(self.port.upstream.calls, [])
        self.assert_no_leftovers()
        self.assertEqual(self.port.server.channels, set())

    def test_draining(self) -> None:
        """A gateway that is about to stop refuses new requests by their head, and lets running ones end."""
        link, client = self.ask()
        self.port.dispatcher.draining = True
        self.port.server.drain()
        self.assertEqual(self.call.over, False)
        self.call.answer(b"{}")
        link.settle()
        self.assertEqual(self.answer(client).status, 200)
        self.assertTrue(client.lost)
        self.port.server.accepting = True
        for path in (NATIVE, UNIVERSAL):
            _, client = self.ask(path)
            self.assert_refused(self.answer(client), 503, 4010)

    def test_probe(self) -> None:
        """A coding agent that looks whether there is a server gets 200, and nobody is asked."""
        _, client = self.ask("/v1/local/default/anthropic", method="HEAD", body=None)
        self.assertIn(b"HTTP/1.1 200 ", client.received)
        self.assertEqual((self.port.upstream.calls, self.port.sink.begun), ([], []))


class PipelineTests(HttpCase):
    """Several requests on one connection."""

    def test_one_after_another(self) -> None:
        """Requests that were sent at once are asked one after another, and answered in their order."""
        one, two = (request_bytes(NATIVE, body=b'{"model": "%b"}' % name) for name in (b"one", b"two"))
        link, client = self.send(one + two)
        self.assertEqual(len(self.port.upstream.calls), 1)
        self.call.answer(b'"first"')
        link.settle()
        self.assertEqual(self.call.request.body, b'{"model": "two"}')
        self.call.answer(b'"second"')
        link.settle()
        self.assertEqual([answer.body for answer in read_answers(client.received)], [b'"first"', b'"second"'])
        self.assertFalse(client.lost)
        self.assert_no_leftovers()

    def test_behind_an_upload(self) -> None:
        """What follows a body that passed through is the next request, however the bytes were cut."""
        upload = request_bytes(NATIVE, body=b"x" * 10, content_type="application/octet-stream")
        data = upload + request_bytes(NATIVE)
        for cut in range(len(upload) - 12, len(upload) + 3):
            self.setUp()
            link, client = self.send(data[:cut])
            client.send(data[cut:])
            link.settle()
            self.call.answer(b'"first"')
            link.settle()
            self.call.answer(b'"second"')
            link.settle()
            self.assertEqual([answer.body for answer in read_answers(client.received)], [b'"first"', b'"second"'])

    def test_mixed_with_refusals(self) -> None:
        """A refusal without a body is an answer like any other; the connection goes on."""
        bad = request_bytes("/v1/local/default/openai/models", method="GET", body=None)
        good = request_bytes("/v1/local/open/openai/models", method="GET", body=None)
        link, client = self.send(bad + good + bad)
        self.call.answer(b"{}")
        link.settle()
        self.assertEqual([answer.status for answer in read_answers(client.received)], [401, 200, 401])
        self.assertFalse(client.lost)

    def test_leaving_stops_only_what_runs(self) -> None:
        """A client that leaves with requests in the pipeline stops the running one; the others are never asked."""
        link, _ = self.send(request_bytes(NATIVE) * 3)
        link.vanish()
        link.settle()
        self.assertEqual(len(self.port.upstream.calls), 1)
        self.assertTrue(self.call.stopped)
        self.assert_no_leftovers()


class SmugglingTests(HttpCase):
    """Bodies whose end two servers could see in different places."""

    http = HttpLimits(body_bytes=1_000)

    def test_two_readings_of_one_length(self) -> None:
        """Every doubtful framing is 400 and ends the connection; what follows is never a request."""
        hidden = request_bytes("/v1/local/open/groq/hidden", body=None, method="GET")
        for framing, body in (
            (b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
            (b"Transfer-Encoding: chunked\r\nContent-Length: 4", b"0\r\n\r\n"),
            (b"Content-Length: 4\r\nContent-Length: 5", b"1234"),
            (b"Content-Length: 4\r\nContent-Length: 4", b"1234"),
            (b"Content-Length: 4, 4", b"1234"),
            (b"Content-Length: +4", b"1234"),
            (b"Content-Length: 0x4", b"1234"),
            (b"Content-Length: -4", b"1234"),
            (b"Content-Length: 4 4", b"1234"),
            (b"Content-Length:", b""),
            (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
            (b"Transfer-Encoding: chunked, identity", b"0\r\n\r\n"),
            (b"Transfer-Encoding: xchunked", b"0\r\n\r\n"),
            (b"Transfer-Encoding: identity\r\nContent-Length: 2", b"{}"),
            (b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
            (b"Transfer-Encoding : chunked", b"0\r\n\r\n"),
            (b" Transfer-Encoding: chunked", b"0\r\n\r\n"),
            (b"Transfer-Encoding: \x0bchunked", b"0\r\n\r\n"),
            (b"Transfer-Encoding: chunked", b"zz\r\n"),
            (b"Transfer-Encoding: chunked", b"-1\r\n"),
            (b"Transfer-Encoding: chunked", b"0x1\r\na\r\n0\r\n\r\n"),
            (b"Transfer-Encoding: chunked", b"1 \r\na\r\n0\r\n\r\n"),
            (b"Transfer-Encoding: chunked", b"1\r\nab\r\n0\r\n\r\n"),
            (b"Transfer-Encoding: chunked", b"1\nab\r\n0\r\n\r\n"),
            (b"Transfer-Encoding: chunked", b"\r\n"),
        ):
            for content_type in (b"application/json", b"application/octet-stream"):
                self.setUp()
                head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: %b\r\n%b\r\n\r\n"
                link, client = self.send(head % (NATIVE.encode(), content_type, framing) + body + hidden)
                link.settle()
                first = read_answers(client.received)[:1]
                self.assertEqual([answer.status for answer in first], [400], (framing, body))
                self.assertEqual(len(read_answers(client.received)), 1, (framing, body))
                self.assertTrue(client.lost, (framing, body))
                self.assertFalse([c for c in self.port.upstream.calls if b"hidden" in c.request.url], (framing, body))
                self.assertEqual(self.port.upstream.running, [], (framing, body))
                self.assertEqual(self.port.server.channels, set())


class ChunkTests(SynchronousTestCase):
    """The chunked coding, cut anywhere."""

    def test_cut_anywhere(self) -> None:
        """A chunked upload arrives whole however its bytes were cut, extensions and trailers left out."""
        head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: audio/wav\r\nTransfer-Encoding: chunked\r\n\r\n"
        body = b"3;ext=1\r\none\r\n3\r\ntwo\r\n0\r\nX-Trailer: 1\r\n\r\n"
        for cut in range(len(body)):
            port = MemoryDataPort(front=FRONT)
            link, client = port.connect_raw(head % b"/v1/local/default/openai/audio" + body[:cut])
            client.send(body[cut:])
            link.settle()
            consumer = Consumer()
            port.upstream.last.request.body.startProducing(consumer)
            self.assertEqual(consumer.data, b"onetwo", cut)
            port.upstream.last.answer(b"{}")
            link.settle()
            self.assertEqual(read_answers(client.received)[0].status, 200)


class Consumer:
    """Takes a body."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        """A piece has come."""
        self.data += data


class TokenTests(HttpCase):
    """The ways in which a gateway's token may arrive at a provider's own API."""

    def test_every_position(self) -> None:
        """The token is taken from its own header and from each place of the provider's key, and goes no further."""
        for path, headers in (
            ("openai/models", [("cf-aig-authorization", f"Bearer {TOKEN}")]),
            ("openai/models", [("cf-aig-authorization", TOKEN)]),
            ("openai/models", [("Authorization", f"Bearer {TOKEN}")]),
            ("openai/models", [("Authorization", f"bearer {TOKEN}")]),
            ("anthropic/v1/models", [("x-api-key", TOKEN)]),
            ("anthropic/v1/models", [("Authorization", f"Bearer {TOKEN}")]),
            ("google-ai-studio/v1/models", [("x-goog-api-key", TOKEN)]),
            ("cohere/v1/models", [("Authorization", f"Token {TOKEN}")]),
            ("elevenlabs/v1/voices", [("xi-api-key", TOKEN)]),
            ("azure-openai/res/dep/models", [("api-key", TOKEN)]),
            ("fal/fal-ai/flux", [("Authorization", f"Key {TOKEN}")]),
        ):
            answer = self.answered(f"/v1/local/default/{path}", method="GET", body=None, headers=headers)
            self.assertEqual(answer.status, 200, (path, headers))
            self.assertFalse([value for _, value in self.call.request.headers if b"aigw_" in value])
            self.assertEqual(self.port.sink.ended[-1].origin.token, "tok_test")

    def test_beside_the_provider_key(self) -> None:
        """With the token in its own header, the provider's key passes unchanged."""
        headers = [("cf-aig-authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer sk-fake")]
        self.answered("/v1/local/default/openai/models", method="GET", body=None, headers=headers)
        self.assertEqual(self.sent_headers()[b"authorization"], b"Bearer sk-fake")

    def test_wrong_places(self) -> None:
        """A token in a place where the provider keeps no key, in the address or in a body lets nobody in."""
        for path, headers in (
            (f"openai/models?key={TOKEN}", []),
            ("openai/models", [("x-api-key", TOKEN)]),
            ("openai/models", [("Authorization", "Bearer sk-fake")]),
            ("openai/models", [("Authorization", TOKEN[:-1])]),
            ("openai/models", [("cf-aig-authorization", "Bearer undefined"), ("Authorization", f"Bearer {TOKEN}")]),
        ):
            _, client = self.ask(f"/v1/local/default/{path}", body=TOKEN.encode(), headers=headers)
            self.assert_refused(self.answer(client), 401, 2009)
        self.assertEqual((self.port.upstream.calls, self.port.sink.begun), ([], []))

    def test_token_in_the_address(self) -> None:
        """A token in the query string never reaches the provider."""
        self.answered(f"/v1/local/open/google-ai-studio/v1/models?key={TOKEN}&alt=sse", method="GET", body=None)
        self.assertTrue(self.call.request.url.endswith(b"/v1/models?alt=sse"))

    def test_large_upload_without_a_token(self) -> None:
        """A body of a gigabyte is refused by its head: not one byte of it is read, nor invited."""
        head = b"POST /v1/local/default/openai/files HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data\r\n"
        _, client = self.send(head + b"Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
        self.assert_refused(self.answer(client), 401, 2009)
        self.assertEqual(self.answer(client).header("www-authenticate"), 'Bearer realm="aigw"')

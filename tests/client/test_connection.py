"""A program that calls a gateway, against a real data port."""

from __future__ import annotations

import gc
import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from aigw.client.answer import Answer
from aigw.client.connection import GatewayClient, client_factory, connect
from aigw.client.failures import AnswerFailed, ConnectionGone, UpgradeRefused
from aigw.errors import TruncatedStream
from aigw.testing.data_port import TOKEN, MemoryDataPort
from aigw.testing.socket import Link
from aigw.testing.upstream import EVENT_STREAM
from aigw.values.gateway import Gateway

QUERY = {"model": "gpt-fake", "messages": [{"role": "user", "content": "hi"}]}
BODY = {"model": "gpt-fake", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}


class GatewayClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.port = MemoryDataPort(gateways=[Gateway(id="default")])
        self.client = self.connected()

    def link(self, path: str = "/v1/local/default", token: str | None = TOKEN) -> GatewayClient:
        """A client whose handshake has ended, well or not."""
        factory = client_factory(self.port.clock, f"ws://gateway.test{path}", token, timeout_s=0)
        client: GatewayClient = factory.buildProtocol(None)
        self.connection = Link(self.port.server, client, self.port.clock)
        self.connection.settle()
        return client

    def connected(self) -> GatewayClient:
        return self.successResultOf(self.link().opened)

    def create(self, **more: Any) -> Answer:
        answer = self.client.create("openai", "chat/completions", QUERY, **more)
        self.settle()
        return answer

    def settle(self) -> None:
        self.connection.settle()

    def whole(self, answer: Answer) -> Deferred[Any]:
        return Deferred.fromCoroutine(answer.whole())

    def gathered(self, answer: Answer) -> tuple[list[Any], Deferred[None]]:
        """The pieces as they come, and the end."""
        pieces: list[Any] = []

        async def read() -> None:
            async for piece in answer:
                pieces.append(piece)  # noqa: PERF401 - the test looks at them while they come

        return pieces, Deferred.fromCoroutine(read())

    def test_a_whole_answer(self) -> None:
        """A request goes out as it was given and its answer comes back with its metadata."""
        answer = self.create(headers={"authorization": "Bearer sk-fake"})
        call = self.port.upstream.calls[0]
        self.assertEqual(json.loads(call.request.body), QUERY)
        self.assertIn((b"authorization", b"Bearer sk-fake"), call.request.headers)
        call.answer(json.dumps(BODY).encode())
        self.settle()
        self.assertEqual(self.successResultOf(self.whole(answer)), BODY)
        metadata = self.successResultOf(Deferred.fromCoroutine(answer.begun()))
        self.assertEqual((metadata["status"], metadata["step"]), (200, "0"))
        pieces, end = self.gathered(answer)
        self.successResultOf(end)
        self.assertEqual(pieces, [BODY])

    def test_a_stream(self) -> None:
        """The pieces of a stream come one by one, and it ends after the last."""
        answer = self.create()
        pieces, end = self.gathered(answer)
        call = self.port.upstream.calls[0]
        call.head(200, EVENT_STREAM)
        call.events(b'{"n":1}')
        self.settle()
        self.assertEqual(pieces, [{"n": 1}])
        self.assertNoResult(end)
        call.events(b'{"n":2}', b"[DONE]")
        call.complete()
        self.settle()
        self.successResultOf(end)
        self.assertEqual(pieces, [{"n": 1}, {"n": 2}])

    def test_pieces_by_callback(self) -> None:
        """A terminal prints each piece as it comes, without going through the answer."""
        pieces: list[Any] = []
        answer = self.create(piece=pieces.append)
        call = self.port.upstream.calls[0]
        call.head(200, EVENT_STREAM)
        call.events(b'{"n":1}', b"[DONE]")
        call.complete()
        self.settle()
        self.assertEqual(pieces, [{"n": 1}])
        self.assertIsNone(self.successResultOf(self.whole(answer)))

    def test_a_stream_that_breaks_off(self) -> None:
        """What came is kept, and then the program learns that it is not all."""
        answer = self.create()
        pieces, end = self.gathered(answer)
        call = self.port.upstream.calls[0]
        call.head(200, EVENT_STREAM)
        call.events(b'{"n":1}')
        call.fail(TruncatedStream())
        self.settle()
        self.assertEqual(pieces, [{"n": 1}])
        failure = self.failureResultOf(end, AnswerFailed)
        self.assertIn("before it was complete", str(failure.value))

    def test_a_providers_error(self) -> None:
        """A provider's refusal comes with its status, its sentence and its whole body."""
        answer = self.create()
        body = {"error": {"message": "no such model", "type": "invalid_request_error"}}
        self.port.upstream.calls[0].answer(json.dumps(body).encode(), 404)
        self.settle()
        error: Any = self.failureResultOf(self.whole(answer), AnswerFailed).value
        self.assertEqual((error.status, str(error), error.response), (404, "no such model", body))

    def test_the_gateways_error(self) -> None:
        """A request that the gateway refuses fails with the gateway's own sentence."""
        answer = self.client.create("nobody", "x", {})
        self.settle()
        error: Any = self.failureResultOf(self.whole(answer), AnswerFailed).value
        self.assertEqual(error.status, 400)
        self.assertIn("Invalid provider", str(error))

    def test_many_at_once(self) -> None:
        """Answers find their requests, whatever the order in which they come."""
        answers = [self.create() for _ in range(5)]
        for number in (3, 1, 4, 0, 2):
            self.port.upstream.calls[number].answer(b'{"n":%d}' % number)
        self.settle()
        self.assertEqual([self.successResultOf(self.whole(answer)) for answer in answers], [{"n": n} for n in range(5)])

    def test_the_connection_is_lost(self) -> None:
        """When the gateway is gone, every open answer fails, and so does the next request."""
        answers = [self.create(), self.create()]
        waiting = [self.whole(answer) for answer in answers]
        self.connection.vanish()
        for result in (*waiting, self.whole(self.create())):
            self.failureResultOf(result, ConnectionGone)
        self.successResultOf(self.client.closed)

    def test_closing(self) -> None:
        """A program that is done closes with a good-bye."""
        closed = self.client.close()
        self.settle()
        self.successResultOf(closed)
        self.assertTrue(self.connection.closed)

    def test_a_reader_that_gives_up(self) -> None:
        """A program may stop waiting for one answer; the others go on, and nothing is complained about."""
        given_up, kept = self.create(), self.create()
        waiting = self.whole(given_up)
        waiting.cancel()
        self.failureResultOf(waiting)
        for call in self.port.upstream.calls:
            call.answer(b"{}")
        self.settle()
        self.assertEqual(self.successResultOf(self.whole(kept)), {})
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_wrong_token(self) -> None:
        """A program with no token or a wrong one is told by the gateway's own sentence."""
        for token in (None, "aigw_" + "1" * 43):
            refusal: Any = self.failureResultOf(self.link(token=token).opened, UpgradeRefused).value
            self.assertEqual((refusal.status, str(refusal)), (401, "Unauthorized"))

    def test_a_wrong_address(self) -> None:
        """An address that is no gateway's is told."""
        refusal: Any = self.failureResultOf(self.link("/v1/local/nowhere").opened, UpgradeRefused).value
        self.assertEqual(refusal.status, 400)


class ConnectTests(TestCase):
    async def test_nobody_listens(self) -> None:
        """A program that starts before the gateway learns at once that nobody is there."""
        from twisted.internet import reactor
        from twisted.internet.error import ConnectError

        connecting = Deferred.fromCoroutine(connect(reactor, "ws://127.0.0.1:1/v1/local/default", TOKEN))
        await self.assertFailure(connecting, ConnectError)

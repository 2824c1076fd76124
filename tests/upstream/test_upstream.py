"""Calls over real sockets, to a provider whose every byte is decided here."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.errors import InvalidField
from aigw.serving.wheel import Wheel
from aigw.testing.provider import CLOSE, RESET, WAIT, Flood, ScriptedProvider, answer, event_stream, head, json_answer
from aigw.upstream.call import Call
from aigw.upstream.settings import UpstreamSettings
from aigw.upstream.upstream import Upstream
from aigw.values.step import Clocks, Headers, UpstreamRequest
from tests.upstream.receiver import Recorder


class UpstreamCase(TestCase):
    """A provider and an upstream, both on the real reactor."""

    timeout = 20
    settings = UpstreamSettings()

    async def setUp(self) -> None:
        self.provider = ScriptedProvider(reactor)
        await self.provider.start()
        self.wheel = Wheel(reactor, 0.01)  # type: ignore[arg-type]  # the reactor module is one
        self.upstream = Upstream(reactor, self.wheel, self.settings, lambda: 1_700_000_000.0)

    async def tearDown(self) -> None:
        await self.upstream.close()
        await self.provider.close()
        self.assertEqual(len(self.wheel), 0, "a clock was left running")

    def request(
        self,
        path: str = "/v1",
        body: bytes = b"{}",
        headers: Headers = (),
        clocks: Clocks | None = None,
        method: bytes = b"POST",
        url: str | None = None,
    ) -> UpstreamRequest:
        address = (url or self.provider.url) + path
        return UpstreamRequest(method, address.encode("ascii"), headers, body, clocks or Clocks())

    def send(self, **request: Any) -> tuple[Call, Recorder]:
        receiver = Recorder()
        return self.upstream.send(self.request(**request), receiver), receiver

    async def ask(self, **request: Any) -> Recorder:
        receiver = self.send(**request)[1]
        await receiver.ended
        return receiver


class AnswerTests(UpstreamCase):
    async def test_small_answer(self) -> None:
        """An answer's status, fields and bytes arrive as the provider sent them."""
        self.provider.on("*", json_answer({"ok": 1}, headers={"X-Id": "7"}))
        got = await self.ask(body=b'{"model":"m"}', headers=((b"authorization", b"Bearer sk-fake"),))
        self.assertEqual((got.status, got.body, got.heard), (200, b'{"ok": 1}', ["head", "data", "completed"]))
        self.assertIn((b"x-id", b"7"), got.headers)
        seen = self.provider.requests[0]
        self.assertEqual((seen.method, seen.path, seen.body), (b"POST", b"/v1", b'{"model":"m"}'))
        self.assertEqual(seen.header(b"authorization"), b"Bearer sk-fake")
        self.assertEqual(seen.header(b"content-length"), b"13")
        self.assertEqual(seen.header(b"accept-encoding"), b"identity")
        self.assertEqual(seen.header(b"host"), self.provider.url.partition("//")[2].encode())

    async def test_connection_is_reused(self) -> None:
        """Requests one after the other share a connection."""
        self.provider.on("*", json_answer({}))
        for _ in range(5):
            await self.ask()
        self.assertEqual({seen.connection for seen in self.provider.requests}, {1})

    async def test_nothing_before_send_returns(self) -> None:
        """A request that cannot be sent fails too, but never before its caller holds the call."""
        receiver = Recorder()
        self.upstream.send(self.request(headers=((b"x", b"a\r\nb: c"),)), receiver)
        self.assertEqual(receiver.heard, [])
        await receiver.ended
        self.assertIsInstance(receiver.error, InvalidField)
        self.assertEqual(self.provider.connections, 0)

    async def test_no_garbage_cycles(self) -> None:
        """A call leaves nothing for the garbage collector, whose pauses every stream would feel."""
        self.provider.on("*", json_answer({}))
        await self.ask()
        await self.ask()
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                await self.ask()
            found = gc.collect()
        finally:
            gc.enable()
        self.assertLess(found, 10)

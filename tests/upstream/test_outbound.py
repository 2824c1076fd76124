"""The gateway's own questions, over real sockets."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from aigw.errors import ConnectFailed, ResponseTooLarge, TotalTimeout
from aigw.testing.provider import WAIT, answer, event_stream
from aigw.upstream.outbound import Outbound
from tests.upstream.test_upstream import UpstreamCase


class OutboundTests(UpstreamCase):
    """Small answers, held whole."""

    async def setUp(self) -> None:
        await super().setUp()
        self.outbound = Outbound(self.upstream)
        self.url = f"{self.provider.url}/token".encode()

    async def test_an_answer_comes_whole(self) -> None:
        """What was asked arrives as it was written, and the answer comes back with its status, whatever that is."""
        self.provider.on("*", answer(b'{"error":"x"}', status=400, headers={"X-Id": "7"}))
        got = await self.outbound.request(b"POST", self.url, ((b"accept", b"application/json"),), b"a=b")
        self.assertEqual((got.status, got.body), (400, b'{"error":"x"}'))
        self.assertIn((b"x-id", b"7"), got.headers)
        seen = self.provider.requests[0]
        self.assertEqual((seen.method, seen.path, seen.body), (b"POST", b"/token", b"a=b"))
        self.assertEqual(seen.header(b"accept"), b"application/json")

    async def test_a_redirect_is_an_answer(self) -> None:
        """Nothing is sent to where a server points; the caller sees the status."""
        self.provider.on("/token", answer(b"", status=302, headers={"Location": "/elsewhere"}))
        self.assertEqual((await self.outbound.request(b"GET", self.url)).status, 302)
        self.assertEqual(len(self.provider.requests), 1)

    async def test_an_answer_that_is_too_large(self) -> None:
        """A server cannot fill the gateway's memory; its connection is closed."""
        self.provider.on("*", event_stream(b"x" * 100, b"x" * 100, WAIT))
        await self.assertFailure(self.outbound.request(b"GET", self.url, answer_bytes=150), ResponseTooLarge)
        await self.provider.when_stopped(1)

    async def test_an_answer_that_does_not_come(self) -> None:
        """One clock bounds everything."""
        self.provider.on("*", (WAIT,))
        await self.assertFailure(self.outbound.request(b"GET", self.url, timeout_s=0.05), TotalTimeout)
        await self.provider.when_stopped(1)

    async def test_cancelling_closes_the_connection(self) -> None:
        """Whoever does not want the answer any more stops the question."""
        self.provider.on("*", (WAIT,))
        asking = self.outbound.request(b"GET", self.url, timeout_s=3600)
        await self.provider.when_requested(1)
        asking.cancel()
        await self.assertFailure(asking, CancelledError)
        await self.provider.when_stopped(1)

    async def test_nobody_there(self) -> None:
        """A refused connection is told as for any provider."""
        url = self.url
        await self.provider.close()
        await self.assertFailure(self.outbound.request(b"GET", url), ConnectFailed)

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import deferLater

from aigw.testing.gateway import GatewayProcess
from aigw.testing.provider import WAIT, Flood, Script, ScriptedProvider, event_stream, head
from tests.integration import IntegrationTestCase
from tests.integration.client import Client

MEGABYTE = 1_000_000
STREAM_BYTES = 200 * MEGABYTE
GROWTH_BYTES = 20 * MEGABYTE
PORTION_BYTES = 5 * MEGABYTE
LOOK_S = 0.02
END = b"data: [DONE]\n\n"


class StreamTests(IntegrationTestCase):
    """Streams that are larger than anybody's memory, and clients that do not take them."""

    async def setUp(self) -> None:
        await super().setUp()
        self.stub: ScriptedProvider = await self.provider()
        self.stub.on("warm-up", _flood(20 * MEGABYTE))
        self.stub.on("huge", _flood(STREAM_BYTES))
        self.stub.on("held", event_stream(b'data: {"n": 1}\n\n', WAIT, END))
        self.config = f'[providers.custom-stub]\nbase_url = "{self.stub.url}"\n'
        self.gateway = await self.start()

    async def test_slow_reader(self) -> None:
        """A client that reads a stream of 200 MB slowly gets all of it, and the gateway grows by less than 20 MB."""
        client = await self.client()
        client.ask("first", "custom-stub", model="warm-up", stream=True)
        await client.ending("first")
        before = _resident_bytes(self.gateway)
        client.ask("second", "custom-stub", model="huge", stream=True)
        await client.began("second")
        most = 0
        while not client.ended("second"):
            client.transport.pauseProducing()
            await self.standstill()
            most = max(most, _resident_bytes(self.gateway))
            client.transport.resumeProducing()
            await self.taken(client, client.received_bytes + PORTION_BYTES)
        self.assertGreater(client.received_bytes, STREAM_BYTES)
        self.assertLess(most - before, GROWTH_BYTES)

    async def test_only_its_own_provider_waits(self) -> None:
        """While one client does not read, its provider stands still, and the other clients' providers do not."""
        slow, quick = await self.client(), await self.client()
        slow.ask("slow", "custom-stub", model="huge", stream=True)
        await slow.began("slow")
        slow.transport.pauseProducing()
        await self.standstill()
        self.assertLess(self.stub.sent_bytes, STREAM_BYTES // 2)
        quick.ask("stream", "custom-stub", model="warm-up", stream=True)
        self.assertTrue((await quick.ending("stream"))["metadata"]["complete"])
        quick.ask("whole")
        self.assertEqual((await quick.ending("whole"))["metadata"]["status"], 200)
        self.assertFalse(slow.ended("slow"))

    async def test_leaving(self) -> None:
        """When a client leaves in the middle of a stream, its provider is stopped, and only its own."""
        leaver, stayer = await self.client(), await self.client()
        leaver.ask("left", "custom-stub", model="held", stream=True)
        await leaver.began("left")
        stayer.ask("kept", "custom-stub", model="held", stream=True)
        await stayer.began("kept")
        leaver.transport.abortConnection()
        await self.stub.when_stopped(1)
        self.assertEqual(self.stub.stopped, ["req-1"])
        self.stub.go("req-2")
        self.assertTrue((await stayer.ending("kept"))["metadata"]["complete"])

    async def client(self) -> Client:
        """A client that throws away what it streams."""
        client = await self.connect(self.gateway)
        client.keep = False
        return client

    async def taken(self, client: Client, received_bytes: int) -> None:
        """Wait until the client has so much, or the end."""
        await client.until(lambda: client.received_bytes >= received_bytes or client.ended("second"))

    async def standstill(self) -> None:
        """Wait until the provider sends nothing more."""
        sent = -1
        while sent != self.stub.sent_bytes:
            sent = self.stub.sent_bytes
            await deferLater(self.reactor, LOOK_S)


def _flood(total_bytes: int) -> Script:
    """A stream of so many bytes and a little more, in events of 16 kB, each a chunk of its own."""
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "%b"}}]}\n\n' % (b"x" * 16_000)
    chunk = b"%x\r\n%b\r\n" % (len(event), event)
    events = -(-total_bytes // len(event))
    start = head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
    return (start, Flood(events * len(chunk), chunk), b"%x\r\n%b\r\n0\r\n\r\n" % (len(END), END))


def _resident_bytes(gateway: GatewayProcess) -> int:
    """Memory of the gateway's process, in bytes."""
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024

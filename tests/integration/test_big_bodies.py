from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer

from aigw.testing.gateway import GatewayProcess
from aigw.testing.provider import Flood, head, json_answer
from tests.integration import LOOK_S, IntegrationTestCase

MEGABYTE = 1_000_000
BODY_BYTES = 1_000 * MEGABYTE
GROWTH_BYTES = 30 * MEGABYTE
PIECE = b"x" * 65_536


class BigBodyTests(IntegrationTestCase):
    """Bodies that are larger than anybody's memory, through a provider's own API."""

    async def setUp(self) -> None:
        await super().setUp()
        self.vendor = await self.provider()
        self.vendor.kept_bytes = 1024
        self.vendor.on("/files", json_answer({"id": "file-1"}))
        for name, size in (("small", 20 * MEGABYTE), ("big", BODY_BYTES)):
            fields = {"content-type": "application/octet-stream", "content-length": str(size)}
            self.vendor.on(f"/files/{name}", (head(200, fields), Flood(size, PIECE)))
        self.config = f'[providers.custom-vendor]\nbase_url = "{self.vendor.url}"\n'
        self.gateway = await self.start()
        base = self.gateway.url.replace("ws://", "http://")
        self.url = f"{base}/custom-vendor/files".encode()
        self.agent = Agent(self.reactor)

    async def ask(self, method: bytes, path: bytes = b"", body: IBodyProducer | None = None) -> Any:
        """The answer's head."""
        fields = {
            "cf-aig-authorization": [f"Bearer {self.gateway.token}"],
            "content-type": ["application/octet-stream"],
        }
        return await self.agent.request(method, self.url + path, Headers(fields), body)

    def file(self, size: int) -> IO[bytes]:
        """A file of so many bytes, which takes no room on the disk."""
        file = TemporaryFile()  # noqa: SIM115  # closed with the test
        self.addCleanup(file.close)
        file.truncate(size)
        return file

    async def upload(self, size: int) -> None:
        """Send so many bytes."""
        response = await self.ask(b"POST", body=FileBodyProducer(self.file(size)))
        await taken(response)
        self.assertEqual((response.code, self.vendor.requests[-1].body_bytes), (200, size))

    async def download(self, name: bytes, size: int) -> None:
        """Take so many bytes."""
        response = await self.ask(b"GET", b"/" + name)
        self.assertEqual((response.code, await taken(response)), (200, size))

    async def test_upload(self) -> None:
        """A huge file goes up whole, and the gateway's memory grows by less than 30 MB."""
        await self.upload(20 * MEGABYTE)
        before = _forget_peak(self.gateway)
        await self.upload(BODY_BYTES)
        self.assertLess(_peak_bytes(self.gateway) - before, GROWTH_BYTES)
        rows = await self.when_rows(2, "request_bytes, success")
        self.assertEqual(rows[-1], (BODY_BYTES, True))

    async def test_download(self) -> None:
        """A huge file comes down whole, and the gateway's memory grows by less than 30 MB."""
        await self.download(b"small", 20 * MEGABYTE)
        before = _forget_peak(self.gateway)
        await self.download(b"big", BODY_BYTES)
        self.assertLess(_peak_bytes(self.gateway) - before, GROWTH_BYTES)
        rows = await self.when_rows(2, "response_bytes, success")
        self.assertEqual(rows[-1], (BODY_BYTES, True))

    async def test_provider_that_does_not_read(self) -> None:
        """While the provider takes nothing, the client waits: the gateway holds no more than its buffers."""
        await self.upload(20 * MEGABYTE)
        before = _forget_peak(self.gateway)
        self.vendor.hold()
        file = self.file(100 * MEGABYTE)
        asked = Deferred.fromCoroutine(self.ask(b"POST", body=FileBodyProducer(file)))
        sent = -1
        while sent != file.tell():
            sent = file.tell()
            await deferLater(self.reactor, LOOK_S)
        self.assertLess(sent, 50 * MEGABYTE)
        self.vendor.release()
        response = await asked
        await taken(response)
        self.assertEqual((response.code, self.vendor.requests[-1].body_bytes), (200, 100 * MEGABYTE))
        self.assertLess(_peak_bytes(self.gateway) - before, GROWTH_BYTES)


class Counter(Protocol):
    """Counts the bytes of a body, and forgets them."""

    def __init__(self) -> None:
        self.count = 0
        self.done: Deferred[int] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Count."""
        self.count += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body is over; one that was cut is a failure."""
        if reason.check(ResponseDone):
            self.done.callback(self.count)
        else:
            self.done.errback(reason)


def taken(response: Any) -> Deferred[int]:
    """Fires with the length of an answer's body when it has come."""
    counter = Counter()
    response.deliverBody(counter)
    return counter.done


def _forget_peak(gateway: GatewayProcess) -> int:
    """Begin to measure the gateway's peak anew; returns what it takes now, in bytes."""
    Path(f"/proc/{gateway.pid}/clear_refs").write_text("5")
    return _memory(gateway, "VmRSS:")


def _peak_bytes(gateway: GatewayProcess) -> int:
    """The most memory that the gateway has taken since, in bytes."""
    return _memory(gateway, "VmHWM:")


def _memory(gateway: GatewayProcess, name: str) -> int:
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024

"""Bodies that pass through: piece by piece, no faster than they are taken, and never a part for the whole."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import UNKNOWN_LENGTH

from aigw.dispatch.upload import EARLY_BYTES, Upload
from aigw.errors import ClientGone, TruncatedStream
from aigw.serving.limits import HttpLimits
from aigw.testing.socket import Link, RawClient
from tests.wire.http_client import HttpCase, request_bytes

PIECE = b"x" * 16_384


class Provider:
    """Takes a body; asks to wait when it has enough."""

    def __init__(self, enough: int = 1 << 40) -> None:
        self.data = b""
        self.enough = enough
        self.upload: Upload | None = None

    def write(self, data: bytes) -> None:
        """A piece has come."""
        self.data += data
        if len(self.data) >= self.enough and self.upload is not None:
            self.upload.pauseProducing()


class UploadTests(SynchronousTestCase):
    """Between a client and a provider."""

    def setUp(self) -> None:
        self.paused = False
        self.upload = Upload(None, 100, self.pause, self.resume)

    def pause(self) -> None:
        """The client is to wait."""
        self.paused = True

    def resume(self) -> None:
        """The client may go on."""
        self.paused = False

    def start(self, provider: Provider) -> Deferred[None]:
        """The provider is reached."""
        provider.upload = self.upload
        return self.upload.startProducing(provider)  # type: ignore[arg-type]  # it takes, and does no more

    def test_in_order(self) -> None:
        """What came before the provider was reached goes first; the end comes after all."""
        provider = Provider()
        self.upload.write(b"one")
        done = self.start(provider)
        self.upload.write(b"two")
        self.assertNoResult(done)
        self.upload.finish()
        self.successResultOf(done)
        self.assertEqual(provider.data, b"onetwo")

    def test_whole_before_the_provider(self) -> None:
        """A small body that is whole before the provider is reached is sent, and done."""
        self.upload.write(b"one")
        self.upload.finish()
        provider = Provider()
        self.successResultOf(self.start(provider))
        self.assertEqual(provider.data, b"one")

    def test_length(self) -> None:
        """The length is told where it is known."""
        self.assertEqual(self.upload.length, UNKNOWN_LENGTH)
        self.assertEqual(Upload(7, 0, self.pause, self.resume).length, 7)

    def test_waiting_for_the_provider(self) -> None:
        """Until the provider is reached no more than a little is taken from the client."""
        while not self.paused:
            self.upload.write(PIECE)
        self.start(provider := Provider())
        self.assertEqual((len(provider.data), self.paused), (EARLY_BYTES, False))

    def test_provider_that_is_full_at_once(self) -> None:
        """A provider that takes no more than what was there already keeps the client waiting."""
        while not self.paused:
            self.upload.write(PIECE)
        self.start(Provider(enough=1))
        self.assertTrue(self.paused)
        self.upload.resumeProducing()
        self.assertFalse(self.paused)

    def test_client_leaves(self) -> None:
        """When the client leaves in the middle, the body fails: what came is not the whole."""
        done = self.start(Provider())
        self.upload.write(PIECE)
        self.upload.lost()
        self.failureResultOf(done, ClientGone)

    def test_client_left_before_the_provider_was_reached(self) -> None:
        """When it left before that, the body fails as soon as somebody wants it."""
        self.upload.write(PIECE)
        self.upload.lost()
        provider = Provider()
        self.failureResultOf(self.start(provider), ClientGone)
        self.assertEqual(provider.data, b"")

    def test_nobody_wants_the_rest(self) -> None:
        """When the answer came early, the rest is read and dropped, so that the client gets to its answer."""
        provider = Provider(enough=len(PIECE))
        done = self.start(provider)
        self.upload.write(PIECE)
        self.assertTrue(self.paused)
        self.upload.stopProducing()
        self.assertFalse(self.paused)
        self.upload.write(PIECE)
        self.upload.finish()
        self.assertNoResult(done)
        self.assertEqual(len(provider.data), len(PIECE))

    def test_log(self) -> None:
        """The log keeps the beginning and knows the length of the whole, also of what nobody wanted."""
        self.upload.stopProducing()
        self.upload.write(b"a" * 60)
        self.upload.write(b"b" * 60)
        capture = self.upload.capture
        self.assertEqual((capture.body(), capture.total_bytes, capture.cut), (b"a" * 60 + b"b" * 40, 120, True))


class PortCase(HttpCase):
    """A data port, and a client that uploads."""

    http = HttpLimits(body_s=5.0)

    def begin(self, length: int = 100_000, chunked: bool = False) -> tuple[Link, RawClient, Provider]:
        """Send the head of an upload; the provider takes it."""
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % length
        head = b"POST /v1/local/open/openai/files HTTP/1.1\r\nHost: a\r\nContent-Type: audio/wav\r\n%b\r\n\r\n"
        link, client = self.send(head % framing)
        provider = Provider()
        body = self.call.request.body
        assert isinstance(body, Upload)
        provider.upload = body
        self.done = body.startProducing(provider)  # type: ignore[arg-type]  # it takes, and does no more
        # Dispatch and upstream are told of the end in their own ways.
        self.done.addErrback(lambda failure: self.call.fail(failure.value))
        return link, client, provider


class PortTests(PortCase):
    """Uploads through the port."""

    def test_before_the_body_is_whole(self) -> None:
        """The provider is asked by the head, and gets each piece when it comes."""
        for chunked in (False, True):
            self.setUp()
            link, client, provider = self.begin(6, chunked)
            for piece in (b"one", b"two"):
                client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                link.settle()
                self.assertTrue(provider.data.endswith(piece))
            if chunked:
                client.send(b"0\r\n\r\n")
                link.settle()
            self.assertTrue(self.done.called)
            self.call.answer(b"{}")
            link.settle()
            self.assertEqual((self.answer(client).status, client.lost), (200, False))
            (record,) = self.port.sink.ended
            self.assertEqual((record.request_body, record.target.request_bytes), (b"onetwo", 6))
            self.assert_no_leftovers()

    def test_back_pressure(self) -> None:
        """While the provider takes nothing, nothing is read from the client; no clock runs against it."""
        link, client, provider = self.begin()
        assert provider.upload is not None
        provider.upload.pauseProducing()
        client.send(b"x" * 50_000)
        link.advance(20.0, step_s=1.0)
        self.assertEqual((provider.data, client.lost), (b"", False))
        provider.upload.resumeProducing()
        link.settle()
        self.assertEqual(len(provider.data), 50_000)

    def test_client_leaves(self) -> None:
        """A client that leaves in the middle of its upload stops the provider, and the record says so."""
        for chunked in (False, True):
            self.setUp()
            link, client, _ = self.begin(chunked=chunked)
            client.send(b"400\r\n" + b"x" * 500)
            link.settle()
            link.vanish()
            link.settle()
            self.assertTrue(self.call.over)
            self.assertEqual(self.port.sink.ended[0].error_code, 4990)
            self.assert_no_leftovers()

    def test_slow_client(self) -> None:
        """A client may take its time as long as pieces come; one that falls silent is dropped."""
        link, client, provider = self.begin()
        for _ in range(5):
            client.send(b"x")
            link.advance(4.0, step_s=0.5)
        self.assertEqual((len(provider.data), client.lost), (5, False))
        link.advance(2.0, step_s=0.5)
        self.assertTrue(client.lost)
        self.assertEqual(self.port.sink.ended[0].error_code, 4990)
        self.assert_no_leftovers()

    def test_early_answer(self) -> None:
        """An answer that comes before the body is whole is passed on; the connection then ends."""
        link, client, provider = self.begin()
        client.send(b"x" * 1_000)
        link.settle()
        assert provider.upload is not None
        provider.upload.stopProducing()
        self.call.answer(b'{"error": "too large"}', status=413)
        client.send(b"y" * 1_000)
        link.settle()
        answer = self.answer(client)
        self.assertEqual((answer.status, answer.body, answer.whole), (413, b'{"error": "too large"}', True))
        self.assertTrue(client.lost)
        self.assertEqual(len(provider.data), 1_000)
        self.assert_no_leftovers()

    def test_what_follows_an_early_answer(self) -> None:
        """What is left of a body whose answer came early is never taken for a request."""
        link, client, provider = self.begin()
        assert provider.upload is not None
        provider.upload.stopProducing()
        self.call.answer(b"{}")
        client.send(request_bytes("/v1/local/open/openai/hidden"))
        link.settle()
        self.assertEqual(len(self.port.upstream.calls), 1)
        self.assertEqual(self.answer(client).status, 200)

    def test_continue(self) -> None:
        """A client that asks first is told to go on, once, and uploads."""
        head = b"POST /v1/local/open/openai/files HTTP/1.1\r\nHost: a\r\nContent-Type: audio/wav\r\n"
        _, client = self.send(head + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(client.received, b"HTTP/1.1 100 Continue\r\n\r\n")

    def test_broken_chunks(self) -> None:
        """Chunks that cannot be read are 400, and the provider's upload fails with them."""
        link, client, _ = self.begin(chunked=True)
        client.send(b"zz\r\n")
        link.settle()
        self.assert_refused(self.answer(client), 400, 4000)
        self.assertEqual((client.lost, self.call.over), (True, True))
        self.assert_no_leftovers()

    def test_draining(self) -> None:
        """An upload that runs when the gateway begins to stop goes on to its end."""
        link, client, provider = self.begin(6)
        client.send(b"one")
        link.settle()
        self.port.dispatcher.draining = True
        self.port.server.drain()
        client.send(b"two")
        link.settle()
        self.call.answer(b"{}")
        link.settle()
        self.assertEqual((provider.data, self.answer(client).status, client.lost), (b"onetwo", 200, True))

    def test_failure_of_the_provider(self) -> None:
        """A provider that breaks off in the middle is an error of the gateway, and the connection ends."""
        link, client, _ = self.begin()
        client.send(b"x" * 1_000)
        link.settle()
        self.call.fail(TruncatedStream())
        link.settle()
        self.assert_refused(self.answer(client), 502, 4024)
        self.assertTrue(client.lost)
        self.assertEqual(len(self.port.upstream.calls), 1)
        self.assert_no_leftovers()

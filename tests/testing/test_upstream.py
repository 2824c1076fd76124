"""The scripted provider and the real upstream keep one contract: what passes with one holds with the other."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aigw.errors import ProviderFailed, TruncatedStream
from aigw.interfaces import IUpstream, IUpstreamCall
from aigw.testing.upstream import ScriptedUpstream
from aigw.values.step import Clocks, UpstreamRequest
from tests.upstream.memory import MemoryUpstream
from tests.upstream.receiver import Recorder


class UpstreamContract:
    """What an exchange relies on. `send` starts a call; the other methods are what its provider does."""

    got: Recorder

    def send(self) -> IUpstreamCall:
        raise NotImplementedError

    def head(self) -> None:
        raise NotImplementedError

    def data(self, data: bytes) -> None:
        raise NotImplementedError

    def complete(self) -> None:
        raise NotImplementedError

    def cut(self) -> None:
        raise NotImplementedError

    def closed(self) -> bool:
        """Whether the provider sees its connection closed."""
        raise NotImplementedError

    def test_order(self) -> None:
        """A call provides its interface; head, data and end come in their order, the end once."""
        verifyObject(IUpstreamCall, self.send())
        self.assertEqual(self.got.heard, [])
        self.head()
        self.data(b"one")
        self.data(b"two")
        self.complete()
        self.assertEqual(self.got.heard, ["head", "data", "data", "completed"])
        self.assertEqual((self.got.status, self.got.body), (201, b"onetwo"))
        self.assertIn((b"content-type", b"text/plain"), self.got.headers)

    def test_failure(self) -> None:
        """A provider that breaks off is a failure, told once, after what came before it."""
        self.send()
        self.head()
        self.data(b"one")
        self.cut()
        self.assertEqual(self.got.heard, ["head", "data", "failed"])
        self.assertIsInstance(self.got.error, ProviderFailed)

    def test_stop(self) -> None:
        """After `stop` the connection is closed and nothing more is heard."""
        call = self.send()
        self.head()
        call.stop()
        self.assertTrue(self.closed())
        self.assertEqual(self.got.heard, ["head"])

    def test_stop_before_the_head(self) -> None:
        """A call can be stopped before anything came."""
        call = self.send()
        call.stop()
        self.assertTrue(self.closed())
        self.assertEqual(self.got.heard, [])

    def test_stop_within_the_head(self) -> None:
        """A receiver may stop the call while it is told of the head."""
        call = self.send()
        self.got.react = lambda name: call.stop()
        self.head()
        self.assertTrue(self.closed())
        self.assertEqual(self.got.heard, ["head"])

    def test_pause_before_the_head(self) -> None:
        """A head that comes while the call is paused waits for `resume`."""
        call = self.send()
        call.pause()
        self.head()
        self.assertEqual(self.got.heard, [])
        call.resume()
        self.assertEqual(self.got.heard, ["head"])

    def test_pause_holds_an_answer(self) -> None:
        """A whole answer that comes while the call is paused is heard in its order after `resume`."""
        call = self.send()
        call.pause()
        self.head()
        self.data(b"one")
        self.complete()
        call.resume()
        self.assertEqual((self.got.heard[0], self.got.heard[-1], self.got.body), ("head", "completed", b"one"))

    def test_pause_and_stop(self) -> None:
        """A paused call can be stopped, and `resume` brings nothing back."""
        call = self.send()
        call.pause()
        self.head()
        call.stop()
        call.resume()
        self.assertTrue(self.closed())
        self.assertEqual(self.got.heard, [])

    def test_again_and_again(self) -> None:
        """Every method may be called at any moment, any number of times."""
        call = self.send()
        for method in (call.pause, call.pause, call.resume, call.resume):
            method()
        self.head()
        self.complete()
        for method in (call.pause, call.resume, call.stop, call.stop, call.resume):
            method()
        self.assertEqual(self.got.heard, ["head", "completed"])


class ScriptedUpstreamTests(UpstreamContract, SynchronousTestCase):
    """The provider that a test plays."""

    def setUp(self) -> None:
        self.upstream = ScriptedUpstream()
        self.got = Recorder()

    def send(self) -> IUpstreamCall:
        return self.upstream.send(UpstreamRequest(b"POST", b"http://p.test/", (), b"{}", Clocks()), self.got)

    def head(self) -> None:
        self.upstream.last.head(201, ((b"content-type", b"text/plain"),))

    def data(self, data: bytes) -> None:
        self.upstream.last.data(data)

    def complete(self) -> None:
        self.upstream.last.complete()

    def cut(self) -> None:
        self.upstream.last.fail(TruncatedStream())

    def closed(self) -> bool:
        return self.upstream.last.stopped

    def test_interface(self) -> None:
        """It provides what an exchange asks for."""
        verifyObject(IUpstream, self.upstream)

    def test_running(self) -> None:
        """It tells which calls run."""
        self.send()
        self.send()
        self.upstream.calls[0].fail(TruncatedStream())
        self.assertEqual(self.upstream.running, [self.upstream.last])


class RealUpstreamTests(UpstreamContract, SynchronousTestCase):
    """The real client and agent, over a connection in memory."""

    def setUp(self) -> None:
        self.upstream = MemoryUpstream()

    def tearDown(self) -> None:
        for wire in self.upstream.wires:
            wire.drop()
        self.assertEqual(self.upstream.clock.getDelayedCalls(), [])

    def send(self) -> IUpstreamCall:
        call, self.got = self.upstream.send()
        return call

    def head(self) -> None:
        self.give(b"HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")

    def data(self, data: bytes) -> None:
        self.give(b"%x\r\n%b\r\n" % (len(data), data))

    def complete(self) -> None:
        self.give(b"0\r\n\r\n")

    def cut(self) -> None:
        self.upstream.wires[0].drop(ConnectionLost())

    def closed(self) -> bool:
        return self.upstream.wires[0].lost

    def give(self, data: bytes) -> None:
        """The provider sends."""
        if not self.upstream.wires[0].lost:
            self.upstream.wires[0].give(data)

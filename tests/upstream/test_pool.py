"""Which connection a request gets, and when one is made, kept or given up."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost, ConnectionRefusedError, DNSLookupError
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import ConnectFailed, InvalidField, ProviderFailed, ProviderQueueFull
from aigw.upstream.agent import POOLS
from aigw.upstream.settings import UpstreamSettings
from aigw.values.step import Clocks
from tests.upstream.memory import MemoryUpstream
from tests.upstream.receiver import Recorder

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
NEVER = Clocks(connect_s=0, first_byte_s=0, idle_s=0, total_s=0)


class PoolCase(SynchronousTestCase):
    settings = UpstreamSettings(connections_per_host=2, waiting_per_host=2, idle_per_host=1, idle_s=30)

    def setUp(self) -> None:
        self.upstream = MemoryUpstream(self.settings)

    def ask(self, url: bytes = b"http://p.test/v1") -> Recorder:
        return self.upstream.send(NEVER, url=url)[1]


class KeepAliveTests(PoolCase):
    def test_reuse(self) -> None:
        """Requests one after the other need one connection; hosts, ports and schemes do not share."""
        for _ in range(3):
            self.ask()
            self.upstream.wires[0].give(EMPTY)
        self.assertEqual(len(self.upstream.wires), 1)
        self.ask(b"http://p.test:81/v1")
        self.ask(b"http://q.test/v1")
        self.assertEqual(len(self.upstream.wires), 3)

    def test_not_reused(self) -> None:
        """A connection is closed when the provider says so, or said more than it was asked."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            EMPTY + EMPTY,
            EMPTY + b"garbage",
        ):
            got = self.ask()
            self.upstream.wires[-1].give(answer)
            self.assertEqual((got.ending, self.upstream.wires[-1].lost), ("completed", True))
        self.assertEqual(len(self.upstream.wires), 4)

    def test_unasked_answer(self) -> None:
        """Bytes on an idle connection close it: they would be taken for the answer to the next request."""
        self.ask()
        wire = self.upstream.wires[0]
        wire.give(EMPTY)
        wire.give(EMPTY.replace(b"0", b"1") + b"x")
        self.assertTrue(wire.lost)
        got = self.ask()
        self.upstream.wires[1].give(EMPTY)
        self.assertEqual(got.heard, ["head", "completed"])

    def test_idle_connections_are_few(self) -> None:
        """No more than `idle_per_host` connections are kept for later."""
        self.ask(), self.ask()
        for wire in self.upstream.wires:
            wire.give(EMPTY)
        self.assertEqual([wire.lost for wire in self.upstream.wires], [False, True])

    def test_idle_connections_are_closed(self) -> None:
        """A connection that nobody needs for `idle_s` is closed; one that is used is not."""
        for _ in range(3):
            self.ask()
            self.upstream.wires[0].give(EMPTY)
            self.upstream.clock.advance(20)
        self.assertEqual(len(self.upstream.wires), 1)
        self.upstream.clock.advance(9)
        self.assertFalse(self.upstream.wires[0].lost)
        self.upstream.clock.advance(1.2)
        self.assertTrue(self.upstream.wires[0].lost)
        self.assertEqual((self.upstream.agent.connections, self.upstream.clock.getDelayedCalls()), (0, []))

    def test_no_farewell(self) -> None:
        """A provider that never says goodbye does not hold the place of its connection for long."""
        self.ask()
        wire = self.upstream.wires[0]
        wire.says_goodbye = False
        wire.give(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(self.upstream.agent.connections, 1)
        self.upstream.clock.advance(5.2)
        self.assertEqual((wire.lost, self.upstream.agent.connections), (True, 0))

    def test_busy_connection_is_not_idle(self) -> None:
        """An answer that takes longer than `idle_s` keeps its connection."""
        self.ask()
        self.upstream.wires[0].give(EMPTY)
        got = self.ask()
        self.upstream.clock.advance(100)
        self.upstream.wires[0].give(EMPTY)
        self.assertEqual(got.ending, "completed")

    def test_pools_are_forgotten(self) -> None:
        """A gateway that has spoken to very many hosts does not remember them all."""
        for n in range(3 * POOLS):
            self.ask(b"http://h%d.test/" % n)
            self.upstream.wires[-1].drop()
        self.assertLessEqual(len(self.upstream.agent._pools), POOLS)


class QueueTests(PoolCase):
    def test_queue(self) -> None:
        """Beyond the limit of connections requests wait in order; beyond the queue they are refused at once."""
        got = [self.ask() for _ in range(5)]
        self.upstream.clock.advance(0)
        self.assertEqual(len(self.upstream.wires), 2)
        self.assertIsInstance(got[4].error, ProviderQueueFull)
        self.upstream.wires[1].give(EMPTY)
        self.upstream.wires[1].give(EMPTY)
        self.assertEqual([len(recorder.heard) for recorder in got], [0, 2, 2, 0, 1])
        self.upstream.wires[0].give(EMPTY)
        self.upstream.wires[1].give(EMPTY)
        self.assertEqual([recorder.ending for recorder in got[:4]], ["completed"] * 4)
        self.assertEqual(len(self.upstream.wires), 2)

    def test_lost_connection_makes_room(self) -> None:
        """When a busy connection breaks, the next in the queue gets a new one."""
        self.ask(), self.ask()
        waiting = self.ask()
        self.upstream.wires[0].drop()
        self.assertEqual(len(self.upstream.wires), 3)
        self.upstream.wires[2].give(EMPTY)
        self.assertEqual(waiting.ending, "completed")

    def test_stopped_call_makes_room(self) -> None:
        """So it does when a client leaves."""
        call, _ = self.upstream.send(NEVER)
        self.ask()
        waiting = self.ask()
        call.stop()
        self.upstream.wires[2].give(EMPTY)
        self.assertEqual(waiting.ending, "completed")

    def test_failed_connection_makes_room(self) -> None:
        """A connection that could not be made fails its own request; the next in the queue tries again."""
        endpoint = self.upstream.endpoint
        endpoint.held = True
        got = [self.ask() for _ in range(3)]
        self.assertEqual(len(endpoint.attempts), 2)
        endpoint.attempts.pop(0)[0].errback(ConnectionRefusedError("10.1.2.3"))
        self.assertIsInstance(got[0].error, ConnectFailed)
        self.assertEqual(len(endpoint.attempts), 2)
        endpoint.let(), endpoint.let()
        for wire in self.upstream.wires:
            wire.give(EMPTY)
        self.assertEqual([recorder.ending for recorder in got[1:]], ["completed"] * 2)


class ResendTests(PoolCase):
    def stale(self) -> Recorder:
        """A request that was just written to a connection that had served before."""
        self.ask()
        self.upstream.wires[0].give(EMPTY)
        return self.ask()

    def test_resent_once(self) -> None:
        """A request that met a connection which the provider was just closing goes out again, and only once."""
        got = self.stale()
        self.upstream.wires[0].drop(ConnectionLost())
        self.assertEqual(got.heard, ["resent"])
        self.assertEqual(self.upstream.wires[1].value().count(b"POST /v1"), 1)
        self.upstream.wires[1].give(EMPTY)
        self.assertEqual(got.heard, ["resent", "head", "completed"])

    def test_not_resent_twice(self) -> None:
        """When the new connection fails as well, so does the request."""
        got = self.stale()
        self.upstream.wires[0].drop()
        self.upstream.wires[1].drop()
        self.assertEqual((type(got.error), len(self.upstream.wires)), (ProviderFailed, 2))

    def test_not_resent_after_a_byte(self) -> None:
        """One byte of an answer shows that the provider had the request: it may have cost money already."""
        got = self.stale()
        self.upstream.wires[0].give(b"H")
        self.upstream.wires[0].drop()
        self.assertEqual((type(got.error), len(self.upstream.wires)), (ProviderFailed, 1))

    def test_not_resent_later(self) -> None:
        """A provider that breaks off after it had time to work is not asked again."""
        got = self.stale()
        self.upstream.clock.advance(2.1)
        self.upstream.wires[0].drop()
        self.assertEqual((type(got.error), len(self.upstream.wires)), (ProviderFailed, 1))

    def test_not_resent_from_a_new_connection(self) -> None:
        """On a new connection a close without an answer is the provider's answer."""
        got = self.ask()
        self.upstream.wires[0].drop(ConnectionLost())
        self.assertEqual((type(got.error), len(self.upstream.wires)), (ProviderFailed, 1))


class CloseTests(PoolCase):
    def test_close(self) -> None:
        """At the end of the process every request fails and no connection or clock is left."""
        got = [self.ask() for _ in range(3)]
        self.ask(b"http://q.test/")
        self.upstream.wires[2].give(EMPTY)
        self.upstream.endpoint.held = True
        got.append(self.ask(b"http://r.test/"))
        closing = self.upstream.agent.close()
        self.assertTrue(closing.called)
        self.assertTrue(all(isinstance(recorder.error, ProviderFailed) for recorder in got))
        self.assertEqual((self.upstream.agent.connections, self.upstream.clock.getDelayedCalls()), (0, []))
        for url in (b"http://p.test/", b"http://new.test/"):
            late = self.ask(url)
            self.upstream.clock.advance(0)
            self.assertIsInstance(late.error, ProviderFailed)


class RefusalTests(PoolCase):
    def test_bad_addresses(self) -> None:
        """An address that is none, or holds a password or line breaks, is refused before any connection is made."""
        for url in (
            b"ftp://p.test/",
            b"http://user:pw@p.test/",
            b"http://p.test:0/",
            b"http://p.test:99999/",
            b"http://p.test/a b",
            b"http://p.test/a\r\nX: y",
            b"http://p.test/\xc3\xa4",
            b"http://p.test/#x",
            b"http://",
            b"http:///x",
            b"nothing",
            b"",
        ):
            got = self.ask(url)
            self.upstream.clock.advance(0)
            self.assertIsInstance(got.error, InvalidField, url)
            self.assertNotIn("pw", got.error.message)
        self.assertEqual(self.upstream.wires, [])

    def test_connect_errors_tell_no_address(self) -> None:
        """What a client may read of a failed connection names the host, and no address behind it."""
        self.upstream.endpoint.held = True
        for reason in (ConnectionRefusedError("10.1.2.3"), DNSLookupError("10.1.2.3"), OSError("10.1.2.3")):
            got = self.ask()
            self.upstream.endpoint.attempts.pop(0)[0].errback(reason)
            self.assertIsInstance(got.error, ConnectFailed)
            self.assertIn("p.test", got.error.message)
            self.assertNotIn("10.1", got.error.message)

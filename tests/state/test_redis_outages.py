"""Redis while it is away, killed, frozen, or wants to know who is there."""

from __future__ import annotations

import datetime
import signal
import socket
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from aigw.errors import StateUnavailable
from aigw.state.settings import StateSettings
from aigw.state.stores import State, open_state
from aigw.storage.late import LateDatabase
from aigw.testing.redis import RedisServer
from aigw.values.counting import Verdict
from tests.state.cache_contract import ANSWER, KEY, UNTIL_MS
from tests.state.counters_contract import NOW_MS, charge, correction, refusal
from tests.storage.own_server import until


class OwnRedisTestCase(TestCase):
    """A server that the test may signal; it is gone when the test is over."""

    timeout = 60

    def server(self, *options: str) -> RedisServer:
        """A server's process, started."""
        server = RedisServer(options)
        self.addCleanup(server.stop)
        server.start()
        return server

    def state(self, url: str, **settings: Any) -> State:
        """A gateway's stores, which begin to connect."""
        # Longer than any machine takes; who tests a deadline gives a short one, and asks with it only what has to fail.
        defaults = {"store": "redis", "cache": "redis", "redis": url, "deadline_s": 20.0}
        state = open_state(StateSettings(**defaults | settings), reactor, LateDatabase(), lambda: NOW_MS)
        self.addCleanup(lambda: Deferred.fromCoroutine(state.stop()))
        state.start()
        return state


class OutageTests(OwnRedisTestCase):
    """What a request sees when Redis is not there."""

    async def test_killed(self) -> None:
        """
        A server that is killed while it is asked costs an error within the deadline, the next questions none of their
        time, and once it is back, they are answered.
        """
        server = self.server()
        state = self.state(server.url)
        await until(lambda: state.counters.available)
        server.send(signal.SIGSTOP)
        asked = state.counters.take([charge()])
        server.send(signal.SIGKILL)
        await refusal(lambda: asked)
        self.assertFalse(state.counters.available)
        await until(lambda: not state.cache.available)
        with self.assertRaises(StateUnavailable):
            state.counters.take([charge()])
        with self.assertRaises(StateUnavailable):
            state.cache.get(KEY, NOW_MS)
        state.cache.put(KEY, ANSWER, UNTIL_MS)
        state.counters.settle([correction(2)])
        server.stop()
        server.start()
        await until(lambda: state.counters.available and state.cache.available)
        await state.counters._settling.when_empty()
        self.assertEqual(await state.counters.take([charge()]), Verdict(-1, (3,)))
        self.assertIsNone(await state.cache.get(KEY, NOW_MS))
        self.assertEqual((state.cache.dropped, state.counters.turned_away), (1, 1))

    async def test_frozen(self) -> None:
        """
        A server that falls silent costs one deadline. Then nobody waits until it goes on, and what it took for a
        request that had been turned away is given back.
        """
        server = self.server()
        patient, state = self.state(server.url), self.state(server.url, deadline_s=0.2)
        await until(lambda: patient.counters.available and state.counters.available)
        self.assertEqual(await patient.counters.take([charge(amount=2)]), Verdict(-1, (2,)))
        server.send(signal.SIGSTOP)
        await refusal(lambda: state.counters.take([charge(amount=8)]))
        self.assertFalse(state.counters.available)
        self.assertEqual(state.counters.late, 1)
        with self.assertRaises(StateUnavailable):
            state.counters.take([charge()])
        server.send(signal.SIGCONT)
        await until(lambda: state.counters.available)
        await state.counters._settling.when_empty()
        self.assertEqual(await patient.counters.take([charge()]), Verdict(-1, (3,)))

    async def test_silent_for_long(self) -> None:
        """A server that stays silent costs the connection, so that another one may lead to a server that answers."""
        server = self.server()
        state = self.state(server.url, deadline_s=0.2)
        await until(lambda: state.counters.available)
        store: Any = state.counters._store
        server.send(signal.SIGSTOP)
        await refusal(lambda: state.counters.take([charge()]))
        self.assertTrue(store.available)
        await until(lambda: not store.available)
        server.send(signal.SIGCONT)
        await until(lambda: state.counters.available)

    async def test_no_server_at_the_start(self) -> None:
        """The gateway starts without Redis, and finds it when it comes."""
        server = self.server()
        server.stop()
        state = self.state(server.url)
        self.assertFalse(state.counters.available)
        with self.assertRaises(StateUnavailable):
            state.counters.take([charge()])
        server.start()
        await until(lambda: state.counters.available)
        self.assertEqual(await state.counters.take([charge()]), Verdict(-1, (1,)))

    async def test_too_many_wait(self) -> None:
        """No more questions are under way than the settings allow."""
        server = self.server()
        state = self.state(server.url, waiting=3)
        await until(lambda: state.counters.available)
        asked = [state.counters.take([charge()]) for _ in range(3)]
        with self.assertRaises(StateUnavailable):
            state.counters.take([charge()])
        self.assertEqual([(await each).used for each in asked], [(1,), (2,), (3,)])

    async def test_a_copy_that_cannot_be_written(self) -> None:
        """After a failover the old primary refuses to be written to; the gateway then connects anew."""
        server = self.server()
        state = self.state(server.url)
        await until(lambda: state.counters.available)
        link = state.counters._store._link  # type: ignore[union-attr]  # the one of Redis
        await link.command("REPLICAOF", "127.0.0.1", "1")
        error = await refusal(lambda: state.counters.take([charge()]))
        self.assertIn("READONLY", str(error))
        self.assertFalse(state.counters.available)
        await until(lambda: state.counters.available)
        await link.command("REPLICAOF", "NO", "ONE")
        self.assertEqual(await state.counters.take([charge()]), Verdict(-1, (1,)))

    async def test_last_corrections(self) -> None:
        """Corrections that wait when the gateway stops are applied first."""
        server = self.server()
        state, other = self.state(server.url), self.state(server.url)
        await until(lambda: state.counters.available and other.counters.available)
        state.counters.settle([correction(4)])
        await state.stop()
        self.assertEqual(await other.counters.read([charge()]), (4,))

    async def test_stop_beside_a_frozen_server(self) -> None:
        """A silent server does not hold up the gateway's stop; who waits is told."""
        server = self.server()
        state = self.state(server.url, deadline_s=30.0)
        await until(lambda: state.counters.available)
        server.send(signal.SIGSTOP)
        asked = state.counters.take([charge()])
        failed = self.assertFailure(asked, StateUnavailable)
        await state.stop()
        await failed


class Mute(ServerFactory):
    """Accepts connections and says nothing."""

    protocol = Protocol


class EntranceTests(OwnRedisTestCase):
    """Users, passwords, databases and certificates."""

    def setUp(self) -> None:
        """Gather what is logged."""
        self.logged: list[str] = []

        def gather(event: Any) -> None:
            self.logged.append(repr(event))

        globalLogPublisher.addObserver(gather)
        self.addCleanup(globalLogPublisher.removeObserver, gather)

    async def test_password(self) -> None:
        """A password lets the gateway in, into the database that the URL names."""
        server = self.server("--requirepass", "fa/ke pass")
        path = server.socket
        state = self.state(f"unix://default:fa%2Fke%20pass@{path}?db=3")
        await until(lambda: state.counters.available)
        await state.counters.take([charge()])
        link = state.counters._store._link  # type: ignore[union-attr]  # the one of Redis
        self.assertIn(b"db=3", await link.command("CLIENT", "INFO"))
        self.assertNotIn("fa/ke", " ".join(self.logged))

    async def test_wrong_password(self) -> None:
        """A wrong password is told in the log, and in no case the password itself."""
        server = self.server("--requirepass", "fake-right")
        state = self.state(f"unix://:fake-wrong@{server.socket}")
        await until(lambda: any("WRONGPASS" in each for each in self.logged))
        self.assertFalse(state.counters.available)
        try:
            state.counters.take([charge()])
        except StateUnavailable as error:
            self.logged.append(str(error))
        self.assertNotIn("fake-", " ".join(self.logged))
        self.assertNotIn("fake-", repr(state.counters._store._link._address))  # type: ignore[union-attr]  # as above

    async def test_stop_while_connecting(self) -> None:
        """A gateway that stops while it connects leaves nothing behind."""
        state = self.state("redis://localhost:1")
        await state.stop()
        self.assertFalse(state.counters.available)

    async def test_mute_server(self) -> None:
        """A server that accepts and says nothing is given up, and does not hold up the gateway's stop."""
        port = reactor.listenTCP(0, Mute(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        state = self.state(f"redis://127.0.0.1:{port.getHost().port}")
        link: Any = state.counters._store._link  # type: ignore[union-attr]  # as above
        await until(lambda: link._protocol is not None)
        self.assertFalse(state.counters.available)
        await state.stop()

    async def test_tls(self) -> None:
        """`rediss://` speaks TLS with a server whose certificate is good, and not with any other."""
        server = RedisServer()
        folder = Path(server.folder)
        make_certificates(folder)
        self.addCleanup(server.stop)
        port = free_port()
        server.options = (
            *("--tls-port", str(port), "--bind", "127.0.0.1", "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(folder / "cert.pem"), "--tls-key-file", str(folder / "key.pem")),
            *("--tls-ca-cert-file", str(folder / "cert.pem")),
        )
        server.start()
        url = f"rediss://localhost:{port}"
        good = self.state(url, redis_trust_roots=str(folder / "cert.pem"))
        await until(lambda: good.counters.available)
        self.assertEqual(await good.counters.take([charge()]), Verdict(-1, (1,)))
        bad = self.state(url)
        await until(lambda: any("certificate verify failed" in each for each in self.logged))
        self.assertFalse(bad.counters.available)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number: int = listening.getsockname()[1]
        return number


def make_certificates(folder: Path) -> None:
    """A key and a certificate for `localhost` that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )

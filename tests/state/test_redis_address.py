"""URLs of Redis."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import ConfigurationError
from aigw.state.redis_address import RedisAddress, read_redis_url

READ = {
    "redis://localhost": RedisAddress("localhost"),
    "redis://localhost/": RedisAddress("localhost"),
    "redis://10.0.0.7:6380/5": RedisAddress("10.0.0.7", 6380, db=5),
    "redis://[::1]:7000": RedisAddress("::1", 7000),
    "redis://:fake%40pass@h": RedisAddress("h", password="fake@pass"),
    "rediss://me:fake@cache.example.com?db=2": RedisAddress(
        "cache.example.com", tls=True, user="me", password="fake", db=2
    ),
    "unix:///run/redis.sock": RedisAddress(path="/run/redis.sock"),
    "unix://me:fake@/run/my%20redis.sock?db=1": RedisAddress(
        path="/run/my redis.sock", user="me", password="fake", db=1
    ),
}

WRONG = {
    "": "must begin with",
    "http://me:fake@h": "must begin with",
    "redis://": "names no host",
    "redis://:fake@": "names no host",
    "redis://h:fake": "is no URL",
    "redis://h:99999": "is no URL",
    "redis://[fake": "is no URL",
    "redis://h/one": "may name one database",
    "redis://h/1?db=2": "may name one database",
    "redis://h?fake=1": "may name one database",
    "redis://h/-1": "may name one database",
    "redis://h/1#fake": "may name one database",
    "unix://host/run/redis.sock": "must have the form",
    "unix:": "must have the form",
    "redis://fake@h": "without a password",
}


class AddressTests(SynchronousTestCase):
    """What an operator writes."""

    def test_read(self) -> None:
        """Host, port, socket, user, password and database are read as they are meant."""
        for url, address in READ.items():
            self.assertEqual(read_redis_url(url), address, url)

    def test_wrong(self) -> None:
        """A URL that cannot be used is refused with the reason, and is not repeated."""
        for url, reason in WRONG.items():
            error = self.assertRaises(ConfigurationError, read_redis_url, url)
            self.assertTrue(error.problems[0].startswith("state.redis: "), url)
            self.assertIn(reason, str(error), url)
            self.assertNotIn("fake", str(error), url)

    def test_no_password_in_texts(self) -> None:
        """Neither form of an address as text shows who enters, or by which word."""
        for url, address in READ.items():
            self.assertNotIn("fake", f"{address} {address!r}", url)
        self.assertEqual(str(READ["redis://10.0.0.7:6380/5"]), "10.0.0.7:6380/5")
        self.assertEqual(str(READ["unix:///run/redis.sock"]), "/run/redis.sock/0")

    def test_trust_roots(self) -> None:
        """A file that cannot serve as authorities is told when the gateway starts."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "empty.pem").write_text("")
        (folder / "odd.pem").write_text("-----BEGIN CERTIFICATE-----\nfake\n-----END CERTIFICATE-----\n")
        address = RedisAddress("h", tls=True)
        for name in ("none.pem", "empty.pem", "odd.pem"):
            error = self.assertRaises(
                ConfigurationError, address.endpoint, MemoryReactorClock(), 1.0, str(folder / name)
            )
            self.assertTrue(error.problems[0].startswith("state.redis_trust_roots: "), name)

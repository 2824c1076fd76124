"""The keys of identity providers: rotation, outages, and key sets that are none."""

from __future__ import annotations

import json

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from aigw.controls.identity_keys import BadKeySet, read_key_set
from aigw.errors import IdentityNotReady, Unauthorized
from aigw.testing.identity import private_key
from tests.controls.test_identity import IdentityTestCase


class RotationTests(IdentityTestCase):
    def test_a_new_key(self) -> None:
        """A token signed with a key of today is taken as soon as the key is fetched; meanwhile: come again."""
        self.clock.advance(60)
        self.provider.add_key("k2", "ES256", 2)
        self.provider.slow = True
        text = self.provider.sign("k2")
        error = self.assertRaises(IdentityNotReady, self.verify, text)
        self.assertEqual(error.headers, ((b"retry-after", b"1"),))
        self.assertRaises(IdentityNotReady, self.verify, text)
        self.assertEqual(self.provider.asked, 2)
        self.provider.answer()
        self.assertEqual(self.verify(text).id, "ada")

    def test_an_invented_key(self) -> None:
        """Whoever invents key ids makes the gateway ask once in ten seconds at most."""
        self.clock.advance(60)
        text = self.provider.sign("k1", {"kid": "invented"})
        self.refused(text)
        self.clock.advance(9)
        self.refused(text)
        self.assertEqual(self.provider.asked, 2)
        self.clock.advance(1)
        self.refused(text)
        self.assertEqual(self.provider.asked, 3)

    def test_a_withdrawn_key(self) -> None:
        """Once a key is published no more, what it signed is refused, though it was believed before."""
        text = self.provider.sign("k1")
        person = self.verify(text)
        self.provider.add_key("k2", "ES256", 2)
        del self.provider.keys["k1"]
        version = self.identity.version
        self.clock.advance(300)
        self.assertFalse(person.in_force(int(self.now_s() * 1000)))
        self.assertGreater(self.identity.version, version)
        self.refused(text)

    def test_another_key_under_the_same_name(self) -> None:
        """A key that is replaced under its own id takes with it what the old one signed."""
        person = self.verify(self.provider.sign("k1"))
        self.provider.add_key("k1", "ES256", 2)
        self.clock.advance(300)
        self.assertFalse(person.in_force(int(self.now_s() * 1000)))
        self.verify(self.provider.sign("k1"))

    def test_the_same_keys(self) -> None:
        """Keys that are published unchanged, in whatever order, change nothing for anybody."""
        self.provider.add_key("k2", "ES256", 2)
        self.clock.advance(300)
        person = self.verify(self.provider.sign("k1", exp=int(self.now_s()) + 3600))
        version = self.identity.version
        self.provider.keys = dict(reversed(self.provider.keys.items()))
        self.clock.advance(300)
        self.assertTrue(person.in_force(int(self.now_s() * 1000)))
        self.assertEqual(self.identity.version, version)

    def test_an_outage(self) -> None:
        """While the provider is away, its keys of yesterday hold; before the first of them, callers have to wait."""
        self.provider.away = True
        self.clock.advance(300)
        self.verify(self.provider.sign("k1"))
        fresh = self.started()
        self.assertRaises(IdentityNotReady, self.verify, self.provider.sign("k1"), fresh)
        self.provider.away = False
        self.clock.advance(10)
        self.verify(self.provider.sign("k1"), fresh)

    def test_no_key_id(self) -> None:
        """A token that names no key is taken where there is one key only."""
        kind, key = self.provider.keys["k1"]
        text = jwt.encode(self.provider.claims(), key, kind)
        self.verify(text)
        self.provider.add_key("k2", "ES256", 2)
        self.clock.advance(300)
        self.assertRaises(Unauthorized, self.verify, jwt.encode(self.provider.claims(), key, kind))


class KeySetTests(IdentityTestCase):
    def test_what_is_no_public_key(self) -> None:
        """Secrets, private keys, weak keys, keys for encryption and odd curves are left out of a set."""
        (good,) = json.loads(self.provider.key_set())["keys"]
        rsa_jwk, ec_jwk = jwt.algorithms.RSAAlgorithm.to_jwk, jwt.algorithms.ECAlgorithm.to_jwk
        weak = json.loads(rsa_jwk(rsa.generate_private_key(65537, 1024).public_key()))
        bad = [
            {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
            {**json.loads(ec_jwk(private_key("ES256"))), "kid": "b"},
            {**weak, "kid": "c"},
            {**good, "use": "enc", "kid": "d"},
            {**json.loads(ec_jwk(ec.generate_private_key(ec.SECP256K1()).public_key())), "kid": "e"},
            {**good, "alg": "HS256", "kid": "f"},
            {**good, "x": "AAAA", "kid": "g"},
            {"kid": "h"},
            "i",
        ]
        self.assertEqual(list(read_key_set(json.dumps({"keys": [*bad, good]}).encode())), ["k1"])
        self.assertRaises(BadKeySet, read_key_set, json.dumps({"keys": bad}).encode())

    def test_what_is_no_key_set(self) -> None:
        """An answer that is no key set is told as such, and leaves the earlier keys alone."""
        for body in (b"", b"<html>", b"[]", b"{}", b'{"keys": 1}', b'{"keys": []}', b"\xff", b"[" * 100_000):
            self.assertRaises(BadKeySet, read_key_set, body)

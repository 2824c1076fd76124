"""Who is behind an identity token, and which tokens are not to be believed."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.identity import TOKEN_BYTES, Identity, Person, looks_like_identity
from aigw.errors import Unauthorized
from aigw.testing.identity import IdentityProvider, private_key

START_S = 1_700_000_000


def part(value: object) -> str:
    """A part of a token, without a signature's care."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class IdentityTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.provider = IdentityProvider(self.now_s)
        self.provider.add_key("k1")
        self.identity = self.started()

    def now_s(self) -> float:
        return START_S + self.clock.seconds()

    def started(self, **more: Any) -> Identity:
        identity = Identity([self.provider.settings(**more)], self.provider, self.clock)
        identity.start()
        self.addCleanup(identity.stop)
        return identity

    def verify(self, text: str, identity: Identity | None = None) -> Person:
        return (identity or self.identity).verify(text.encode(), int(self.now_s() * 1000))

    def refused(self, text: str, identity: Identity | None = None) -> str:
        error = self.assertRaises(Unauthorized, self.verify, text, identity)
        return str(error.detail)


class ClaimsTests(IdentityTestCase):
    def test_a_person(self) -> None:
        """A token tells who the person is, by id, e-mail address and groups."""
        person = self.verify(self.provider.sign("k1", email="ada@example.com", groups=["dev", "ops"]))
        user = {"id": "ada", "email": "ada@example.com", "groups": ["dev", "ops"]}
        self.assertEqual(person.claims(), {"user": user, "custom": {}})
        self.assertEqual(person.user, "ada@example.com")

    def test_every_kind_of_key(self) -> None:
        """Tokens signed with RSA (both paddings), with a curve, and with Ed25519 are taken."""
        self.provider.add_key("rsa", "RS256")
        self.provider.add_key("ed", "EdDSA")
        self.clock.advance(300)
        for kid, algorithm in (("k1", "ES256"), ("rsa", "RS256"), ("rsa", "PS256"), ("ed", "EdDSA")):
            self.assertEqual(self.verify(self.provider.sign(kid, algorithm=algorithm)).id, "ada")

    def test_an_unverified_address(self) -> None:
        """An e-mail address that the issuer has not verified could be anybody's, and is not believed."""
        person = self.verify(self.provider.sign("k1", email="boss@example.com", email_verified=False))
        self.assertEqual((person.email, person.user), ("", "ada"))

    def test_groups_that_are_not_told(self) -> None:
        """To be in no group is not the same as nobody saying so, which a policy about groups must not take for it."""
        told = self.verify(self.provider.sign("k1", groups=[]))
        untold = self.verify(self.provider.sign("k1"))
        self.assertEqual(told.claims()["user"]["groups"], [])
        self.assertNotIn("groups", untold.claims()["user"])

    def test_other_claims(self) -> None:
        """The owner says which claims hold what, and which of the others policies may read."""
        names = {"user_claim": "uid", "email_claim": "mail", "groups_claim": "roles", "team_claim": "dept"}
        identity = self.started(**names, custom_claims=("cost_center", "absent"))
        text = self.provider.sign("k1", uid=7, mail="a@b.example", roles="dev", dept="red", cost_center=12, more=1)
        person = self.verify(text, identity)
        self.assertEqual((person.id, person.email, person.groups, person.team), ("7", "a@b.example", ("dev",), "red"))
        self.assertEqual(person.custom, {"cost_center": 12})
        everything = self.verify(text, self.started(custom_claims=("*",)))
        self.assertEqual((everything.custom["more"], "exp" in everything.custom), (1, False))

    def test_required_claims(self) -> None:
        """Where a claim must have a value, a token without it is refused."""
        identity = self.started(require_claims={"hd": ("example.com",), "amr": ("mfa", "hwk")})
        self.verify(self.provider.sign("k1", hd="example.com", amr=["pwd", "mfa"]), identity)
        for claims in ({"hd": "example.com"}, {"hd": "evil.example", "amr": "mfa"}, {"amr": "mfa"}):
            self.assertIn("required", self.refused(self.provider.sign("k1", **claims), identity))

    def test_registered_claims(self) -> None:
        """A token for another audience, of another issuer, without an end or a subject, is refused."""
        for claims in (
            {"aud": "other"},
            {"aud": None},
            {"iss": "https://evil.example"},
            {"iss": None},
            {"exp": None},
            {"exp": "soon"},
            {"exp": True},
            {"sub": None},
            {"sub": ""},
            {"sub": {"a": 1}},
        ):
            self.refused(self.provider.sign("k1", **claims))

    def test_times(self) -> None:
        """A token holds from its beginning to its end, give or take the leeway, though it was believed before."""
        text = self.provider.sign("k1")
        self.clock.advance(329)
        person = self.verify(text)
        self.clock.advance(1)
        self.assertIn("expired", self.refused(text))
        self.assertFalse(person.in_force(int(self.now_s() * 1000)))
        self.verify(self.provider.sign("k1", nbf=int(self.now_s()) + 30))
        self.assertIn("not valid yet", self.refused(self.provider.sign("k1", nbf=int(self.now_s()) + 31)))

    def test_verified_once(self) -> None:
        """A token costs its signature once: a busy person is no burden."""
        text = self.provider.sign("k1")
        self.assertIs(self.verify(text), self.verify(text))


class AttackTests(IdentityTestCase):
    def test_no_signature(self) -> None:
        """A token that says it needs no signature is refused, however it spells that."""
        for none in ("none", "None", "NONE", ""):
            for signature in ("", "x"):
                text = f"{part({'alg': none, 'kid': 'k1'})}.{part(self.provider.claims())}.{signature}"
                self.refused(text)

    def test_the_public_key_as_a_secret(self) -> None:
        """A token signed with HMAC, the published key as its secret, is refused: the key says what it is for."""
        self.provider.add_key("rsa", "RS256")
        self.clock.advance(300)
        public = private_key("RS256").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for secret in (public, self.provider.key_set()):
            signed = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(self.provider.claims())}"
            mac = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).rstrip(b"=").decode()
            self.refused(f"{signed}.{mac}")

    def test_an_algorithm_of_another_key(self) -> None:
        """A token that names the algorithm of another kind of key is refused before its signature is looked at."""
        self.provider.add_key("rsa", "RS256")
        self.clock.advance(300)
        _, body, signature = self.provider.sign("rsa").split(".")
        for algorithm in ("ES256", "EdDSA", "PS256"):
            self.refused(f"{part({'alg': algorithm, 'kid': 'rsa'})}.{body}.{signature}")
        self.refused(f"{part({'alg': 'RS256', 'kid': 'k1'})}.{body}.{signature}")
        self.refused(self.provider.sign("rsa"), self.started(algorithms=("ES256",)))

    def test_a_key_for_one_algorithm(self) -> None:
        """A key that is published for one algorithm verifies nothing that was signed with another."""
        self.provider.names_algorithms = True
        self.provider.add_key("rsa", "RS256")
        self.clock.advance(300)
        self.verify(self.provider.sign("rsa"))
        self.refused(self.provider.sign("rsa", algorithm="PS256"))

    def test_a_key_of_its_own(self) -> None:
        """A token that brings its own key, or says where it is, is verified with the published one."""
        mine = private_key("ES256", 99)
        jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(mine.public_key()))
        for header in ({"jwk": jwk}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/x"}):
            text = jwt.encode(self.provider.claims(), mine, "ES256", {"kid": "k1", **header})
            self.refused(text)
        self.assertEqual(self.provider.asked, 1)

    def test_critical_extensions(self) -> None:
        """A token with an extension that must be understood is refused, since none is."""
        self.assertIn("not allowed", self.refused(self.provider.sign("k1", {"crit": ["x"], "x": 1})))

    def test_junk(self) -> None:
        """What is no token is refused, and costs no signature."""
        signed = self.provider.sign("k1")
        head, body, signature = signed.split(".")
        for junk in (
            *("", ".", "..", "a.b.c", f"{head}.{body}", f"{signed}.x", f"{head}.{body}.", f"{head}é.{body}.x"),
            *(f"{part([])}.{body}.x", f"{head}.{part('x')}.x", f"{head}.{body}.{signature[:-4]}AAAA"),
            f"{part({'alg': ['ES256'], 'kid': 'k1'})}.{body}.{signature}",
            f"{part({'alg': 'ES256', 'kid': {}})}.{body}.{signature}",
        ):
            self.refused(junk)
        self.assertIn("too long", self.refused(self.provider.sign("k1", more="x" * TOKEN_BYTES)))

    def test_nothing_of_a_token_is_repeated(self) -> None:
        """A refusal repeats nothing of the token: it goes to logs and to whoever asked."""
        text = self.provider.sign("k1", aud="other", email="ada@secret.example")
        self.assertNotIn("secret", self.refused(text))

    def test_what_looks_like_a_token(self) -> None:
        """Nonsense that SDKs send in place of a key is not taken for an identity token."""
        self.assertTrue(looks_like_identity(self.provider.sign("k1").encode()))
        for text in (b"undefined", b"sk-fake", b"eyJx", b"a.b.c"):
            self.assertFalse(looks_like_identity(text))

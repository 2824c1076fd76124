"""What an owner may say of identity providers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.settings_check import problems_of
from aigw.controls.identity_settings import IdentitySettings, repeated_issuers

SOUND = {"issuer": "https://id.example", "audience": ["aigw"], "jwks_url": "https://id.example/keys"}


class IdentitySettingsTests(SynchronousTestCase):
    def problems(self, **changed: Any) -> list[str]:
        return [problem.partition(":")[0] for problem in problems_of({**SOUND, **changed}, IdentitySettings)]

    def test_sound_settings(self) -> None:
        """Three values are enough."""
        self.assertEqual(self.problems(), [])

    def test_what_would_open_the_gateway(self) -> None:
        """Secrets as keys, no signature, no audience, an address that is none: refused with the path of the field."""
        for changed, path in (
            ({"algorithms": ["HS256"]}, "algorithms[0]"),
            ({"algorithms": ["RS256", "none"]}, "algorithms[1]"),
            ({"algorithms": []}, "algorithms"),
            ({"audience": []}, "audience"),
            ({"audience": [""]}, "audience[0]"),
            ({"jwks_url": "file:///etc/keys"}, "jwks_url"),
            ({"issuer": ""}, "issuer"),
            ({"leeway_s": 301}, "leeway_s"),
            ({"gateways": ["default"]}, "gateways[0]"),
            ({"authenticate": True}, "authenticate"),
        ):
            self.assertEqual(self.problems(**changed), [path])

    def test_an_issuer_twice(self) -> None:
        """Two declarations of one issuer could contradict each other."""
        one = IdentitySettings("https://id.example", ("a",), "https://id.example/keys")
        (problem,) = repeated_issuers((one, one))
        self.assertTrue(problem.startswith("identity[1].issuer:"))
        self.assertEqual(repeated_issuers((one,)), [])

"""The shapes of policies are Cloudflare's, and nothing else is taken."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from aigw.values.policy import Block, Cap, NoLimit, PolicyForm, Resource

FORM: dict[str, Any] = {
    "name": "everybody",
    "actor": "company:all",
    "resource": "*",
    "condition": "true",
    "action": {"type": "no-limit"},
}


class PolicyFormTests(SynchronousTestCase):
    def test_accepted(self) -> None:
        """Every resource and every action of the reference is read, and is written again as it was."""
        for field, value, read in (
            ("resource", "*", "*"),
            ("resource", {"model": "gpt-4o"}, Resource(model="gpt-4o")),
            ("resource", {"model": ["gpt-*", "o3"]}, Resource(model=("gpt-*", "o3"))),
            ("resource", {"provider": "openai"}, Resource(provider="openai")),
            (
                "resource",
                {"model": "a", "provider": ["openai", "custom-x"]},
                Resource(model="a", provider=("openai", "custom-x")),
            ),
            ("action", {"type": "no-limit"}, NoLimit()),
            ("action", {"type": "block"}, Block()),
            ("action", {"type": "block", "except": True}, Block(otherwise=True)),
            (
                "action",
                {"type": "limit", "amount": 0.5, "period": "weekly", "technique": "named-interval"},
                Cap(0.5, "weekly"),
            ),
        ):
            form = msgspec.convert({**FORM, field: value}, PolicyForm)
            self.assertEqual(getattr(form, field), read)
            self.assertEqual(msgspec.json.decode(msgspec.json.encode(form))[field], value)

    def test_refused(self) -> None:
        """A policy that could mean something else than its owner thinks is refused, and the text names the field."""
        for field, value in (
            ("name", ""),
            ("name", "a\nb"),
            ("actor", ""),
            ("actor", None),
            ("resource", "gpt-4o"),
            ("resource", {}),
            ("resource", {"models": "gpt-4o"}),
            ("resource", {"model": []}),
            ("resource", {"model": ""}),
            ("resource", {"provider": "open*"}),
            ("resource", {"provider": "openai\n"}),
            ("resource", ["gpt-4o"]),
            ("condition", ""),
            ("condition", "x" * 2_001),
            ("condition", True),
            ("action", "block"),
            ("action", {"type": "deny"}),
            ("action", {"except": True}),
            ("action", {"type": "block", "expect": True}),
            ("action", {"type": "no-limit", "amount": 1}),
            ("action", {"type": "limit", "period": "daily"}),
            ("action", {"type": "limit", "amount": 0, "period": "daily"}),
            ("action", {"type": "limit", "amount": -1, "period": "daily"}),
            ("action", {"type": "limit", "amount": 1, "period": "yearly"}),
            ("action", {"type": "limit", "amount": 1, "period": "daily", "technique": "sliding"}),
        ):
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, {**FORM, field: value}, PolicyForm)
            self.assertIn(field, str(error), value)
        for document in ({**FORM, "id": "mine"}, {key: FORM[key] for key in FORM if key != "action"}):
            self.assertRaises(msgspec.ValidationError, msgspec.convert, document, PolicyForm)

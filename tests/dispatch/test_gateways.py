"""The gateways of this server."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.dispatch.gateways import Gateways
from aigw.values.gateway import Gateway


class GatewaysTests(SynchronousTestCase):
    """Which addresses exist."""

    def test_default_is_always_there(self) -> None:
        """A server without any declaration has `local/default`, and it wants a token."""
        gateway = Gateways().find("local", "default")
        self.assertTrue(gateway is not None and gateway.authentication)

    def test_declared_default_wins(self) -> None:
        """An owner who declares the default gateway decides about it."""
        gateways = Gateways([Gateway(id="default", authentication=False), Gateway(id="b", account="acme")])
        found = gateways.find("local", "default")
        self.assertFalse(found is None or found.authentication)
        self.assertEqual([(g.account, g.id) for g in gateways.all()], [("acme", "b"), ("local", "default")])

    def test_names_belong_together(self) -> None:
        """A gateway is found under its own account only."""
        gateways = Gateways([Gateway(id="b", account="acme")])
        self.assertIsNone(gateways.find("local", "b"))
        self.assertIsNone(gateways.find("acme", "default"))

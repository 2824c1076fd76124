"""How callers show who they are."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import credentials


class CredentialsTests(SynchronousTestCase):
    def test_bearer_is_optional(self) -> None:
        """The documented examples send the token with and without `Bearer`; case and spaces do not matter."""
        for value in (b"aigw_x", b"Bearer aigw_x", b"bearer aigw_x", b"BEARER   aigw_x ", b" aigw_x"):
            self.assertEqual(credentials(value), b"aigw_x")

    def test_nothing_shown(self) -> None:
        """An empty header is no credential, and neither is a subprotocol of another kind."""
        for value in (None, b"", b" ", b"Bearer", b"Bearer "):
            self.assertIsNone(
                credentials(value, ["realtime", "cf-aig-authorization.", "openai-insecure-api-key.sk-fake"])
            )

    def test_a_browser_offers_a_subprotocol(self) -> None:
        """A page that cannot set headers shows its token among the subprotocols."""
        self.assertEqual(credentials(None, ["realtime", "cf-aig-authorization.aigw_x"]), b"aigw_x")

    def test_the_header_goes_first(self) -> None:
        """Where both are sent, the header counts."""
        self.assertEqual(credentials(b"Bearer aigw_h", ["cf-aig-authorization.aigw_s"]), b"aigw_h")

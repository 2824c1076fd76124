"""What a path may be, and every trick that would make it lead elsewhere."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.settings import ProviderSettings
from aigw.providers.table import MODULES, ProviderTable
from tests.providers.refusals import refused

TRICKS = (
    "../../admin",
    "v1/..",
    "v1/./chat",
    "v1/%2e%2e/admin",
    "v1/%2E./admin",
    "v1/%252e%252e/admin",
    "v1/..;x/admin",
    "v1/..%2fadmin",
    "//evil.example/x",
    "///evil.example",
    "v1//chat",
    "%2f%2fevil.example",
    "\\\\evil.example",
    "v1\\..\\admin",
    "v1/%5c..%5cadmin",
    "v1/chat#fragment",
    "v1/chat%23fragment",
    "v1/chat%3fkey=1",
    "@evil.example/",
    "user:pw@evil.example/",
    "https://evil.example/v1",
    "HTTPS://evil.example",
    "http:/evil.example",
    "v1/chat\r\nHost: evil.example",
    "v1/chat%0d%0aHost: evil.example",
    "v1/chat?x=1\r\nHost: evil.example",
    "v1/\x00",
    "v1/%00",
    "v1/\x7f",
    "v1/\ud800",
    "v1/aigw_secret",
    "x" * 9000,
)


class TrickTests(SynchronousTestCase):
    """No path leads away from the provider."""

    def test_tricks_are_refused(self) -> None:
        """Each attempt to leave the base address ends in a clear error, for every provider."""
        table = ProviderTable({"custom-mine": ProviderSettings(base_url="http://127.0.0.1:9/base")})
        for slug in (*MODULES, "custom-mine"):
            passed = [endpoint for endpoint in TRICKS if not refused(table.lookup(slug), endpoint)]
            self.assertEqual(passed, [], slug)

    def test_gateway_tokens_never_reach_the_address(self) -> None:
        """A query argument that holds a token of the gateway is left out; others stay."""
        google = ProviderTable().lookup("google-ai-studio")
        address = google.address("v1beta/models?key=aigw_secret&pageSize=5")
        self.assertEqual(address, b"https://generativelanguage.googleapis.com/v1beta/models?pageSize=5")
        self.assertIn(b"key=xaigw_is_fine", google.address("v1beta/models?key=xaigw_is_fine"))

"""What a path may be, and every trick that would make it lead elsewhere."""

from __future__ import annotations

from urllib.parse import unquote

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import InvalidField
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import MODULES, ProviderTable
from tests.providers.refusals import ACCOUNT, refused

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


TEXT = ("/", "//", "..", ".", "@", ":", "#", "?", "&", "=", ";", "\\", "\r\n", "\0", " ", "é", "\ud800", "[", "{id}")
ENCODED = ("%", "%25", "%2e", "%2f", "%5c", "%20", "%5f", "%61")
WORDS = ("https:", "evil.example", "[::1]", "v1", "model", "@cf", "chat/completions", "aigw_x", "aigw", "igw_")
PIECES = st.sampled_from(TEXT + ENCODED + WORDS)


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
        for hidden in ("k=%20aigw_x", "k=aigw%5fx", "k=%2561igw_x", "aigw_x"):
            self.assertEqual(
                google.address(f"v1/models?{hidden}"), b"https://generativelanguage.googleapis.com/v1/models"
            )
        self.assertIn(b"key=xaigw_is_fine", google.address("v1beta/models?key=xaigw_is_fine"))

    @given(st.sampled_from(sorted(set(MODULES) - {"azure", "azure-openai", "baseten"})), st.lists(PIECES, max_size=8))
    @settings(max_examples=500, deadline=None)
    def test_no_path_changes_the_host(self, slug: str, pieces: list[str]) -> None:
        """Whatever is written, the request goes below the vendor's own address or nowhere."""
        provider = ProviderTable().lookup(slug)
        try:
            url = provider.address("".join(pieces), account=ACCOUNT).decode("ascii")
        except InvalidField:
            return
        base = provider.base_url.replace("{account}", ACCOUNT)
        bases = (base, *(form.base_url for form in provider.forms if form.base_url))
        self.assertTrue(any(url == base or url.startswith((f"{base}/", f"{base}?")) for base in bases), url)
        self.assertNotRegex(url, r"[\x00-\x20\x7f\\#]")
        self.assertNotRegex(unquote(url.partition("?")[0]), r"/\.\.?(/|$)")
        self.assertNotRegex(unquote(url), r"(?<![A-Za-z0-9_])aigw_")

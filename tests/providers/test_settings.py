"""What may stand in `[providers.<slug>]`, and what is said of mistakes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import ConfigurationError
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import ProviderTable


class SettingsTests(SynchronousTestCase):
    """Mistakes are told so that they can be mended, and keys stay secret."""

    def test_all_mistakes_are_told_at_once(self) -> None:
        """Each wrong key is named with its path, and no header's value is repeated."""
        wrong = {
            "custom-a": ProviderSettings(),
            "custom-B": ProviderSettings(base_url="https://ok.example"),
            "custom-c": ProviderSettings(base_url="https://{resource}.example"),
            "opnai": ProviderSettings(base_url="https://ok.example"),
            "openai": ProviderSettings(base_url="ftp://x"),
            "mistral": ProviderSettings(base_url="https://user:hunter2@x"),
            "groq": ProviderSettings(base_url="https://x/?a=1"),
            "grok": ProviderSettings(base_url="https://x y/"),
            "cohere": ProviderSettings(base_url="https://x:99999"),
            "fal": ProviderSettings(headers={"a b": "hunter2"}),
            "deepseek": ProviderSettings(headers={"authorization": "Bearer hunter2\r\nx: y"}),
            "cerebras": ProviderSettings(headers={"Host": "hunter2"}),
            "ideogram": ProviderSettings(headers={"api-key": "aigw_hunter2"}),
        }
        problems = self.assertRaises(ConfigurationError, ProviderTable, wrong).problems
        self.assertEqual(len(problems), len(wrong), problems)
        for slug in wrong:
            self.assertTrue(any(problem.startswith(f"providers.{slug}") for problem in problems), slug)
        self.assertTrue(any("did you mean 'openai'" in problem for problem in problems))
        self.assertNotIn("hunter2", "\n".join(problems))

    def test_representations_hide_header_values(self) -> None:
        """A key among the configured headers does not show in a log of the settings or of the provider."""
        settings = ProviderSettings(headers={"authorization": "Bearer sk-fake"})
        provider = ProviderTable({"openai": settings}).lookup("openai")
        self.assertNotIn("sk-fake", repr(settings) + repr(provider))
        self.assertIn((b"authorization", b"Bearer sk-fake"), provider.headers(()))

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

    def test_settings_that_make_credentials(self) -> None:
        """What a vendor does not take, what belongs together and what cannot be looked up is told with its key."""
        for slug, settings, told in (
            ("openai", {"client_id": "x"}, "client_id: openai takes no such key"),
            ("custom-a", {"base_url": "http://x", "region": "r"}, "region: custom-a takes no such key"),
            ("aws-bedrock", {"access_key_id": "x"}, "secret_access_key: missing; access_key_id, secret_access_key go"),
            ("azure", {"tenant_id": "x", "client_id": "y"}, "client_secret: missing"),
            ("aws-bedrock", {"session_token": "env:NOT_SET"}, "session_token: the variable NOT_SET is not set"),
            ("azure", {"token_url": "ftp://x"}, "token_url: must begin with https:// or http://"),
        ):
            wrong = {slug: ProviderSettings(**settings)}
            problems = self.assertRaises(ConfigurationError, ProviderTable, wrong, None, {}).problems
            self.assertEqual(len(problems), 1, problems)
            self.assertTrue(problems[0].startswith(f"providers.{slug}.{told}"), problems)
        ProviderTable({"aws-bedrock": ProviderSettings(region="eu-west-1")})

    def test_representations_hide_header_values(self) -> None:
        """A key among the configured headers does not show in a log of the settings or of the provider."""
        made = ProviderSettings(access_key_id="AKIAFAKE", secret_access_key="fake-secret", service_account="fake-json")
        self.assertEqual(repr(made), "ProviderSettings(base_url=None, headers=[])")
        settings = ProviderSettings(headers={"authorization": "Bearer sk-fake"})
        provider = ProviderTable({"openai": settings}).lookup("openai")
        self.assertNotIn("sk-fake", repr(settings) + repr(provider))
        self.assertIn((b"authorization", b"Bearer sk-fake"), provider.headers(()))

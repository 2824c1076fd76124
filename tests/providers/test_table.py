"""Which providers there are, and what an operator may change of them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import aigw
from aigw.errors import ConfigurationError, InvalidProvider
from aigw.providers.pricing import Prices
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import MODULES, ProviderTable
from aigw.values.usage import Usage


class LookupTests(SynchronousTestCase):
    """Providers are found by their slug."""

    def test_every_entry_leads_to_its_provider(self) -> None:
        """Each slug of the table finds a provider that calls itself so, or has it as an alias."""
        table = ProviderTable()
        for slug in MODULES:
            provider = table.lookup(slug)
            self.assertIn(slug, (provider.slug, *provider.aliases))
            for alias in provider.aliases:
                self.assertEqual(MODULES[alias], MODULES[provider.slug])

    def test_unknown_slugs_are_refused_with_a_hint(self) -> None:
        """A misspelt provider gets the nearest one named; custom ones are not given away."""
        table = ProviderTable({"custom-secret": ProviderSettings(base_url="http://127.0.0.1:9")})
        error = self.assertRaises(InvalidProvider, table.lookup, "antropic")
        self.assertIn("'anthropic'", error.message)
        for slug in ("custom-secre", "", "OpenAI", "azure_openai", "../openai", "x" * 100_000, "table"):
            error = self.assertRaises(InvalidProvider, table.lookup, slug)
            self.assertNotIn("custom-secret", error.message)
            self.assertLess(len(error.message), 200)

    def test_vendors_are_imported_when_asked_for(self) -> None:
        """A gateway that serves one vendor does not load the files of the others."""
        code = (
            "import sys; from aigw.providers.table import ProviderTable; ProviderTable().lookup('openai');"
            "print(sorted({'aigw.providers.openai', 'aigw.providers.groq', 'genai_prices'}.intersection(sys.modules)))"
        )
        root = {"PYTHONPATH": str(Path(aigw.__file__).parents[1])}
        command = [sys.executable, "-c", code]
        printed = subprocess.run(command, env=root, capture_output=True, text=True, check=True).stdout
        self.assertEqual(printed.strip(), "['aigw.providers.openai']")


class OverrideTests(SynchronousTestCase):
    """The operator's word on providers."""

    def test_a_base_url_keeps_the_path_rules(self) -> None:
        """A vendor's address can be replaced, by plain http as well; its ways to write paths stay."""
        table = ProviderTable(
            {
                "openai": ProviderSettings(base_url="http://127.0.0.1:9/v1/"),
                "azure-openai": ProviderSettings(base_url="http://[::1]:9"),
                "baseten": ProviderSettings(base_url="http://10.0.0.1"),
            }
        )
        for slug, endpoint, expected in (
            ("openai", "v1/chat/completions", b"http://127.0.0.1:9/v1/chat/completions"),
            ("azure-openai", "res/dep/chat/completions", b"http://[::1]:9/openai/deployments/dep/chat/completions"),
            ("baseten", "model/abc", b"http://10.0.0.1/model/abc"),
        ):
            self.assertEqual(table.lookup(slug).address(endpoint), expected)

    def test_custom_providers_come_from_the_configuration(self) -> None:
        """A model server of one's own is reached below its address, with the configured headers."""
        settings = ProviderSettings(base_url="http://10.0.0.7:8000/api", headers={"X-Team": "red"})
        provider = ProviderTable({"custom-vllm": settings}).lookup("custom-vllm")
        self.assertEqual(provider.slug, "custom-vllm")
        self.assertEqual(provider.address("v1/chat/completions"), b"http://10.0.0.7:8000/api/v1/chat/completions")
        self.assertIn((b"x-team", b"red"), provider.headers(()))

    def test_an_alias_and_its_slug_share_settings(self) -> None:
        """Settings under the one name hold for the other."""
        table = ProviderTable({"perplexity": ProviderSettings(base_url="http://127.0.0.1:9")})
        self.assertEqual(table.lookup("perplexity-ai").address("x"), b"http://127.0.0.1:9/x")


class PricesTests(SynchronousTestCase):
    """Whose prices hold."""

    def test_resold_models(self) -> None:
        """A provider of the operator's own costs what its vendor's models cost, when the operator says so."""
        settings = ProviderSettings(base_url="https://models.example/v1", prices="openai")
        table = ProviderTable({"custom-resold": settings})
        prices = Prices(lambda slug: table.lookup(slug).prices, lambda: datetime(2026, 1, 1, tzinfo=UTC))
        usage = Usage(1000, 1000)
        cost = prices.cost_nanousd("custom-resold", "gpt-4o", usage)
        self.assertEqual(cost, prices.cost_nanousd("openai", "gpt-4o", usage))
        self.assertIsNotNone(cost)

    def test_unknown_vendor(self) -> None:
        """A vendor that is not in the table is told with its key."""
        settings = ProviderSettings(base_url="https://models.example/v1", prices="opnai")
        error = self.assertRaises(ConfigurationError, ProviderTable, {"custom-resold": settings})
        self.assertIn("providers.custom-resold.prices: 'opnai' is not known here; did you mean 'openai'?", str(error))


class OverriddenRegionTests(SynchronousTestCase):
    """A vendor whose host names a region, at an address of the operator's."""

    def test_every_form_reaches_the_override(self) -> None:
        """Both of Bedrock's forms are asked at the operator's own address, which has no region to be held to."""
        table = ProviderTable({"aws-bedrock": ProviderSettings(base_url="http://127.0.0.1:9")})
        for endpoint, path in (
            ("bedrock-runtime/us-east-1/model/m/invoke", b"/model/m/invoke"),
            ("bedrock-mantle/us-east-1/anthropic/v1/messages", b"/bedrock-mantle/us-east-1/anthropic/v1/messages"),
        ):
            self.assertEqual(table.lookup("aws-bedrock").address(endpoint), b"http://127.0.0.1:9" + path)

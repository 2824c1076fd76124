"""What answers cost. The price list itself is the judge of the compiled cards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from genai_prices import Usage as ListUsage
from genai_prices import calc_price
from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.pricing import CARDS_KEPT, Prices
from aigw.providers.table import ProviderTable
from aigw.values.usage import Usage

NIGHT = datetime(2025, 3, 1, 20, 0, tzinfo=UTC)
DAY = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)

# slug, the price list's id, model: plain, cached, tiered, by date, by hour, with a fee a request, without output.
MODELS = (
    ("openai", "openai", "gpt-4o-mini"),
    ("openai", "openai", "gpt-4o-2024-08-06"),
    ("openai", "openai", "text-embedding-3-small"),
    ("anthropic", "anthropic", "claude-sonnet-4-5"),
    ("google-ai-studio", "google", "gemini-2.5-pro"),
    ("deepseek", "deepseek", "deepseek-chat"),
    ("mistral", "mistral", "mistral-small-latest"),
    ("perplexity-ai", "perplexity", "sonar-pro"),
    ("groq", "groq", "llama-3.1-8b-instant"),
    ("grok", "x-ai", "grok-4"),
    ("cohere", "cohere", "command-r"),
    ("workers-ai", "cloudflare", "@cf/meta/llama-3.1-8b-instruct"),
    ("openrouter", "openrouter", "openai/gpt-4o-mini"),
    ("fireworks", "fireworks", "accounts/fireworks/models/llama-v3p1-8b-instruct"),
    ("cerebras", "cerebras", "llama3.1-8b"),
    ("azure-openai", "azure", "gpt-4o"),
)
SPEAKING = (
    ("openai", "openai", "gpt-realtime"),
    ("openai", "openai", "gpt-4o-mini-realtime-preview"),
)
USAGES = (
    Usage(1000, 0),
    Usage(123_457, 0, cache_read=1000),
    Usage(1000, 777),
    Usage(100_000, 3, cache_read=90_001, cache_write=5_000),
    Usage(100_000, 3, cache_read=90_001, cache_write=5_000, cache_write_1h=4_000),
    Usage(200_000, 10),
    Usage(200_001, 10, cache_read=199_000),
)


def prices(now: Callable[[], datetime] = lambda: DAY) -> Prices:
    """The prices as the gateway puts them together."""
    table = ProviderTable()
    return Prices(lambda slug: table.lookup(slug).prices, now)


def listed_nanousd(vendor: str, model: str, usage: Usage, at: datetime) -> int:
    """The same cost by the price list's own arithmetic."""
    told = ListUsage(
        input_tokens=usage.tokens_in,
        output_tokens=usage.tokens_out,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        cache_write_1h_tokens=usage.cache_write_1h,
        input_audio_tokens=usage.audio_in,
        output_audio_tokens=usage.audio_out,
        cache_audio_read_tokens=usage.audio_cache_read,
    )
    price = calc_price(told, model, provider_id=vendor, genai_request_timestamp=at).total_price
    return int((price * 1_000_000_000 + Decimal("0.5")).to_integral_value("ROUND_FLOOR"))


class CostTests(SynchronousTestCase):
    """Compiled cards agree with the price list."""

    def test_costs_are_those_of_the_price_list(self) -> None:
        """For plain, cached, tiered, dated and timed prices alike, to the nano-dollar."""
        for at in (DAY, NIGHT, datetime(2026, 10, 1, tzinfo=UTC)):
            made = prices(lambda at=at: at)
            for slug, vendor, model in MODELS:
                for usage in USAGES:
                    if usage.tokens_out and "embedding" in model:
                        continue
                    expected = listed_nanousd(vendor, model, usage, at)
                    self.assertEqual(made.cost_nanousd(slug, model, usage), expected, (slug, model, usage, at))

    def test_sound_has_a_price_of_its_own(self) -> None:
        """A spoken session costs what the vendor takes for sound, and for sound from its cache."""
        spoken = Usage(1000, 500, cache_read=300, audio_in=600, audio_out=400, audio_cache_read=200)
        written = Usage(1000, 500, cache_read=300)
        for slug, vendor, model in SPEAKING:
            cost = prices().cost_nanousd(slug, model, spoken)
            self.assertEqual(cost, listed_nanousd(vendor, model, spoken, DAY), model)
            self.assertNotEqual(cost, prices().cost_nanousd(slug, model, written), model)

    def test_prices_change_with_the_hour(self) -> None:
        """A vendor with cheap nights costs less by night, without a restart."""
        now = [DAY]
        made = prices(lambda: now[0])
        by_day = made.cost_nanousd("deepseek", "deepseek-chat", Usage(1_000_000, 0))
        now[0] = NIGHT
        by_night = made.cost_nanousd("deepseek", "deepseek-chat", Usage(1_000_000, 0))
        self.assertEqual((by_day, by_night), (270_000_000, 135_000_000))

    def test_cached_tokens_are_cheaper(self) -> None:
        """A cached prompt does not cost what a fresh one costs."""
        made = prices()
        self.assertEqual(made.cost_nanousd("openai", "gpt-4o-mini", Usage(1000, 0)), 150_000)
        self.assertEqual(made.cost_nanousd("openai", "gpt-4o-mini", Usage(1000, 0, cache_read=1000)), 75_000)

    def test_small_costs_are_rounded_once(self) -> None:
        """Fractions of a nano-dollar add up before they are rounded."""
        # 0.0375 USD a million tokens are 37.5 nano-dollars each.
        made = prices()
        costs = [made.cost_nanousd("cohere", "command-r7b", Usage(tokens, 0)) for tokens in (0, 1, 2, 3, 1001)]
        self.assertEqual(costs, [0, 38, 75, 113, 37_538])

    def test_the_sandbox_shows_a_cost(self) -> None:
        """One dollar a million tokens in, ten cents for cached ones, two dollars a million out."""
        self.assertEqual(prices().cost_nanousd("sandbox", "echo", Usage(1000, 500, cache_read=100)), 1_910_000)


class UnknownTests(SynchronousTestCase):
    """What has no price has no cost, which is not zero."""

    def test_unknown_prices_are_none(self) -> None:
        """An unknown model, a vendor without prices, no model, and prices that are not by token."""
        made = prices()
        for slug, model in (
            ("openai", "gpt-99-imaginary"),
            ("openai", ""),
            ("elevenlabs", "eleven_v3"),
            ("openai", "x" * 100_000),
            # Its reasoning and citations have prices of their own, and a usage does not tell them apart.
            ("perplexity-ai", "sonar-deep-research"),
        ):
            self.assertIsNone(made.cost_nanousd(slug, model, Usage(10, 10)), (slug, model[:40]))

    def test_output_without_a_price(self) -> None:
        """A model that is priced for its input only has no cost for output."""
        made = prices()
        self.assertIsNotNone(made.cost_nanousd("cohere", "embed-v4.0", Usage(10, 0)))
        self.assertIsNone(made.cost_nanousd("cohere", "embed-v4.0", Usage(10, 1)))

    def test_endless_model_names_do_not_fill_memory(self) -> None:
        """A client that invents models pushes old ones out."""
        asked: list[str] = []
        made = Prices(lambda slug: asked.append(slug) or "", lambda: DAY)
        for number in range(CARDS_KEPT + 1):
            made.cost_nanousd("openai", f"invented-{number}", Usage(1, 1))
        made.cost_nanousd("openai", f"invented-{CARDS_KEPT}", Usage(1, 1))
        self.assertEqual(len(asked), CARDS_KEPT + 1)
        made.cost_nanousd("openai", "invented-0", Usage(1, 1))
        self.assertEqual(len(asked), CARDS_KEPT + 2)

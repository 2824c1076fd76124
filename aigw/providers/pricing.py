"""What an answer cost, from the rate cards of `genai-prices`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from aigw.values.usage import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

# Prices are kept as integers of 1e-15 USD a token: a price in USD per million tokens keeps nine decimals, and the one
# rounding of an exchange comes last.
FEMTOUSD_PER_NANOUSD = 1_000_000
_FEMTOUSD_PER_USD_PER_MTOK = 1_000_000_000

CARDS_KEPT = 4096

# What a rate card is compiled of; any of them may have tiers.
_PRICED = (
    *("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok"),
    *("input_audio_mtok", "output_audio_mtok", "cache_audio_read_mtok"),
)

# Output that some vendors charge at rates of its own, and that a `Usage` does not tell apart.
_TOLD_APART = ("output_reasoning_mtok", "output_citation_mtok")


@attrs.frozen
class Rates:
    """
    Prices of one model, in 1e-15 USD a token; None where the vendor has none.

    Attributes:
        tokens_in, tokens_out: Plain tokens.
        cache_read, cache_write, cache_write_1h: The parts of the input that met the vendor's prompt cache.
        request: For each request, in 1e-15 USD.
        audio_in, audio_out, audio_cache_read: Sound; None where the vendor charges it like text.
    """

    tokens_in: int | None
    tokens_out: int | None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    request: int = 0
    audio_in: int | None = None
    audio_out: int | None = None
    audio_cache_read: int | None = None

    def cost_femtousd(self, usage: Usage) -> int | None:
        """The price of a usage, None when it has tokens of a kind that has no price."""
        if (usage.tokens_in and self.tokens_in is None) or (usage.tokens_out and self.tokens_out is None):
            return None
        plain = self.tokens_in or 0
        write = plain if self.cache_write is None else self.cache_write
        hour = write if self.cache_write_1h is None else self.cache_write_1h
        return (
            self.request
            + (usage.tokens_in - usage.cache_read - usage.cache_write) * plain
            + usage.cache_read * (plain if self.cache_read is None else self.cache_read)
            + (usage.cache_write - usage.cache_write_1h) * write
            + usage.cache_write_1h * hour
            + usage.tokens_out * (self.tokens_out or 0)
            + self._sound(usage, plain)
        )

    def _sound(self, usage: Usage, plain: int) -> int:
        """What the sound in a usage costs beyond the same number of plain tokens."""
        if not usage.audio_in and not usage.audio_out:
            return 0
        cached = usage.audio_cache_read
        read = plain if self.cache_read is None else self.cache_read
        return (
            (usage.audio_in - cached) * ((plain if self.audio_in is None else self.audio_in) - plain)
            + cached * ((read if self.audio_cache_read is None else self.audio_cache_read) - read)
            + usage.audio_out
            * ((self.tokens_out or 0 if self.audio_out is None else self.audio_out) - (self.tokens_out or 0))
        )


@attrs.frozen
class RateCard:
    """
    A model's rates by the length of the input: the whole request is charged at the rates of the step it reaches.

    Attributes:
        steps: Pairs of an input length in tokens and the rates above it; the longest first, 0 last.
        active: Whether the card holds at a moment; None: always.
    """

    steps: tuple[tuple[int, Rates], ...]
    active: Callable[[datetime], bool] | None = None

    def rates(self, tokens_in: int) -> Rates:
        """The rates for an input of so many tokens."""
        for above, rates in self.steps[:-1]:
            if tokens_in > above:
                return rates
        return self.steps[-1][1]


# The sandbox costs nothing. One dollar a million tokens in and two out let its logs show what a cost looks like.
SANDBOX = RateCard(((0, Rates(_FEMTOUSD_PER_USD_PER_MTOK, 2 * _FEMTOUSD_PER_USD_PER_MTOK, 100_000_000)),))


class Prices:
    """
    Costs of usages, from compiled rate cards.

    Args:
        prices_id: Gives the id that `genai-prices` knows a provider's slug by, empty for none.
        utc_now: The wall clock; some prices begin on a date, or hold at certain hours.
    """

    def __init__(self, prices_id: Callable[[str], str], utc_now: Callable[[], datetime]) -> None:
        self._prices_id = prices_id
        self._utc_now = utc_now
        self._vendors: dict[str, Provider] | None = None
        # The cards of a model in the order in which they are asked; none for a model without a price.
        self._cards: OrderedDict[tuple[str, str], tuple[RateCard, ...]] = OrderedDict()

    def warm(self) -> None:
        """Import the price list (some 0.2 s), so that no request has to wait for it."""
        if self._vendors is None:
            from genai_prices.data import providers

            self._vendors = {vendor.id: vendor for vendor in providers}

    def cost_nanousd(self, provider: str, model: str, usage: Usage) -> int | None:
        """
        What a usage cost.

        Args:
            provider: Slug.
            model: As the answer or the request names it.
            usage: Of one answer.
        Returns:
            Nano-dollars, rounded once; None when the price is unknown.
        """
        key = (provider, model)
        cards = self._cards.get(key)
        if cards is None:
            cards = self._cards[key] = self._compiled(provider, model)
            if len(self._cards) > CARDS_KEPT:
                self._cards.popitem(last=False)
        else:
            self._cards.move_to_end(key)
        for card in cards:
            if card.active is None or card.active(self._utc_now()):
                cost = card.rates(usage.tokens_in).cost_femtousd(usage)
                return None if cost is None else (cost + FEMTOUSD_PER_NANOUSD // 2) // FEMTOUSD_PER_NANOUSD
        return None

    def _compiled(self, provider: str, model: str) -> tuple[RateCard, ...]:
        vendor_id = self._prices_id(provider)
        if vendor_id == "sandbox":
            return (SANDBOX,)
        if not vendor_id or not model:
            return ()
        self.warm()
        vendors = self._vendors or {}
        vendor = vendors.get(vendor_id)
        found = vendor.find_model(model, all_providers=list(vendors.values())) if vendor else None
        return () if found is None else _cards(found)


def _cards(model: ModelInfo) -> tuple[RateCard, ...]:
    """The cards of a model, later conditions first; its first price holds when no condition does."""
    if not isinstance(model.prices, list):
        card = _card(model.prices, None)
        return () if card is None else (card,)
    cards = [_card(one.prices, one.constraint.active if one.constraint else None) for one in reversed(model.prices)]
    cards.append(_card(model.prices[0].prices, None) if model.prices else None)
    # A condition without a usable price would let an older price through: better none at all.
    return tuple(card for card in cards if card is not None) if None not in cards else ()


def _card(price: ModelPrice, active: Callable[[datetime], bool] | None) -> RateCard | None:
    """The card of one set of prices; None when they are not by token, or tell apart what a usage does not."""
    if price.input_mtok is None and price.output_mtok is None:
        return None
    if any(getattr(price, name) is not None for name in _TOLD_APART):
        return None
    lengths = {0}
    for name in _PRICED:
        lengths.update(tier.start for tier in getattr(getattr(price, name), "tiers", ()))
    steps = []
    for above in sorted(lengths, reverse=True):
        rates = Rates(
            _femtousd(price.input_mtok, above),
            _femtousd(price.output_mtok, above),
            _femtousd(price.cache_read_mtok, above),
            _femtousd(price.cache_write_mtok, above),
            _femtousd(price.cache_write_1h_mtok, above),
            # USD per thousand requests: a thousand times dearer than the same number per million.
            1000 * (_femtousd(price.requests_kcount, above) or 0),
            _femtousd(price.input_audio_mtok, above),
            _femtousd(price.output_audio_mtok, above),
            _femtousd(price.cache_audio_read_mtok, above),
        )
        steps.append((above, rates))
    return RateCard(tuple(steps), active)


def _femtousd(price: Any, above: int) -> int | None:
    """A price in USD per million tokens, for inputs longer than `above`, as 1e-15 USD a token."""
    if price is None:
        return None
    tiers = getattr(price, "tiers", None)
    if tiers is not None:
        price = next((tier.price for tier in reversed(tiers) if above >= tier.start), price.base)
    return int(price * _FEMTOUSD_PER_USD_PER_MTOK)

"""A price that comes with the request, in the place of the price list (section 5.9b of Cloudflare's reference)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta

from aigw.values.usage import NANOUSD_PER_USD, Usage

HEADER = b"cf-aig-custom-cost"

# The dearest models cost less than a cent a token; beyond these, sums would leave the log's 64 bits.
_PerToken = Annotated[float, Meta(ge=0, le=1_000)]
_PerRequest = Annotated[float, Meta(ge=0, le=1_000_000)]


class CustomCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The header's content, in US dollars.

    Attributes:
        per_token_in: For each input token that was neither read from the vendor's cache nor written to it.
        per_token_out: For each output token.
        per_cache_read_token, per_cache_write_token: For each token of the vendor's cache; absent: as `per_token_in`.
        total_cost: For the whole request; the others count for nothing then.
    """

    per_token_in: _PerToken = 0.0
    per_token_out: _PerToken = 0.0
    per_cache_read_token: _PerToken | None = None
    per_cache_write_token: _PerToken | None = None
    total_cost: _PerRequest | None = None

    def cost_nanousd(self, usage: Usage) -> int:
        """What a usage costs, rounded once."""
        if self.total_nanousd is not None:
            return self.total_nanousd
        read_rate = self.per_token_in if self.per_cache_read_token is None else self.per_cache_read_token
        write_rate = self.per_token_in if self.per_cache_write_token is None else self.per_cache_write_token
        # `tokens_in` holds the cached ones, whatever the vendor's own counting.
        fresh = max(0, usage.tokens_in - usage.cache_read - usage.cache_write)
        usd = fresh * self.per_token_in + usage.tokens_out * self.per_token_out
        usd += usage.cache_read * read_rate + usage.cache_write * write_rate
        return round(usd * NANOUSD_PER_USD)

    @property
    def total_nanousd(self) -> int | None:
        """What the request costs whatever it uses; None when that depends."""
        return None if self.total_cost is None else round(self.total_cost * NANOUSD_PER_USD)


def _plain(words: str) -> str:
    """A mistake in the words of JSON instead of the program's."""
    return words.replace("`float | null`", "a number").replace("`float`", "a number").replace("Expected", "expected")


# One application sends the same few prices with each of its requests.
@lru_cache(maxsize=512)
def read_custom_cost(value: bytes) -> CustomCost:
    """
    The prices of a header.

    Args:
        value: Of the header, JSON.
    Raises:
        ValueError: It is no object with at least one price; the text says why.
    """
    try:
        cost = msgspec.json.decode(value, type=CustomCost)
        prices = msgspec.json.decode(value, type=dict[str, float | None]).values()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except msgspec.ValidationError as error:
        words, _, path = str(error).partition(" - at `$.")
        raise ValueError(f"`{path[:-1]}`: {_plain(words)}" if path else _plain(words)) from None
    # To be charged nothing, a caller has to say so.
    if all(price is None for price in prices):
        raise ValueError("names no price")
    return cost


def custom_cost(settings: Mapping[bytes, bytes]) -> CustomCost | None:
    """
    The prices that a request brings for itself.

    Args:
        settings: The `cf-aig-*` headers that hold for the step; names in lower case.
    Returns:
        None when it brings none, or what cannot be read; `check_settings` has refused that.
    """
    value = settings.get(HEADER)
    if value is None:
        return None
    try:
        return read_custom_cost(value)
    except ValueError:
        return None


def custom_price(settings: Mapping[bytes, bytes]) -> Callable[[Usage], int | None] | None:
    """Nano-dollars of a usage by the request's own prices; None when it brings none. See `custom_cost`."""
    cost = custom_cost(settings)
    return None if cost is None else cost.cost_nanousd

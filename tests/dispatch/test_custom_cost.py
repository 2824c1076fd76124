"""A price that comes with the request."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigw.dispatch.custom_cost import custom_price
from aigw.dispatch.settings import check_settings
from aigw.errors import InvalidField
from aigw.values.usage import Usage

HEADER = b"cf-aig-custom-cost"
# The example of Cloudflare's page: of 1000 input tokens, 600 were read from the cache and 200 written to it.
CACHED = Usage(tokens_in=1000, tokens_out=100, cache_read=600, cache_write=200)


def nanousd(usage: Usage, **rates: Any) -> int | None:
    """What a usage costs by these rates."""
    price = custom_price({HEADER: json.dumps(rates).encode()})
    return None if price is None else price(usage)


class CustomCostTests(SynchronousTestCase):
    def test_rates(self) -> None:
        """Each kind of token has its rate; without rates of their own, cached tokens cost as much as fresh ones."""
        for rates, cost in (
            ({"per_token_in": 1e-6, "per_token_out": 2e-6}, 1_000_000 + 200_000),
            ({"per_token_in": 1e-6, "per_token_out": 0, "per_cache_read_token": 1e-7}, 400_000 + 60_000),
            ({"per_token_in": 1e-6, "per_cache_write_token": 1.25e-6}, 800_000 + 250_000),
            ({"per_token_in": 1e-6, "per_cache_read_token": 0, "per_cache_write_token": 0}, 200_000),
            ({"per_token_out": 2e-6}, 200_000),
            ({"per_token_in": 0, "per_token_out": 0}, 0),
            ({"total_cost": 0.25}, 250_000_000),
            ({"total_cost": 0, "per_token_in": 1}, 0),
        ):
            self.assertEqual(nanousd(CACHED, **rates), cost, rates)

    def test_rounded_once(self) -> None:
        """A million tokens of a tenth of a nano-dollar cost what they should, not nothing."""
        self.assertEqual(nanousd(Usage(tokens_in=1_000_000, tokens_out=0), per_token_in=1e-10), 100_000)

    def test_no_price(self) -> None:
        """Without the header, the price list holds."""
        self.assertIsNone(custom_price({}))

    def test_wrong_prices_are_refused(self) -> None:
        """A negative, endless or misspelt price is told, so that no budget is run with it."""
        for value in (
            b"0.1",
            b"[]",
            b"null",
            b"{}",
            b'{"total_cost":null}',
            b"",
            b"{",
            b'{"per_token_in":-1e-9}',
            b'{"per_token_out":"1e-6"}',
            b'{"total_cost":null,"per_token_in":null}',
            b'{"total_cost":-1}',
            b'{"total_cost":NaN}',
            b'{"total_cost":1e999}',
            b'{"per_token_in":1001}',
            b'{"per_tokens_in":1}',
            b'{"per_token_in":' * 50_000,
        ):
            error = self.assertRaises(InvalidField, check_settings, {HEADER: value})
            self.assertIn("header `cf-aig-custom-cost`: ", error.message)
            self.assertIsNone(custom_price({HEADER: value}))
        check_settings({HEADER: b' {"per_token_in": 1e-6, "per_token_out": 0} '})

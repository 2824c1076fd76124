"""
The stages of an exchange, in their order.

For the exchange:

1. authenticate - a valid token, unless the gateway is open
2. settings - those of the gateway, then the request's own headers
3. route - to a list of steps

For each step:

4. merged settings - the step's own headers over the request's
5. guard the request - bounds of the token and its team, block policies
6. cache look-up - a hit counts against no limit
7. reserve - rate and spend limits, and budgets of policies, all in one step
8. credentials - the caller's own, or the operator's; signatures and tokens are made here
9. attempt - the provider is asked, under its clocks
10. guard the response - guardrails, data loss prevention
11. settle - the cache stores, the reservation becomes a cost

Then:

12. record - one row, whatever the ending was

Stage 10 has no control yet: nothing runs there.
"""

from __future__ import annotations

import enum


class Stage(enum.IntEnum):
    """A stage by its number; the order of the numbers is the order of the work."""

    AUTHENTICATE = 1
    SETTINGS = 2
    ROUTE = 3
    MERGED_SETTINGS = 4
    GUARD_REQUEST = 5
    CACHE_LOOK_UP = 6
    RESERVE = 7
    CREDENTIALS = 8
    ATTEMPT = 9
    GUARD_RESPONSE = 10
    SETTLE = 11
    RECORD = 12

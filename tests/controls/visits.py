"""Steps for tests of controls, and what they are held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from aigw.controls.authentication import ANONYMOUS, Caller
from aigw.controls.estimate import Estimates, EstimateSettings
from aigw.controls.hold import NOTHING_HELD, Hold, Till, Watch
from aigw.controls.holder_limits import HolderLimits
from aigw.controls.rate_limits import GatewayRateLimits
from aigw.controls.reserve import Reserve
from aigw.controls.spend_limits import GatewaySpendLimits
from aigw.controls.stage_counts import StageCounts
from aigw.controls.visit import Price, Visit
from aigw.errors import StateUnavailable
from aigw.interfaces import ICounters
from aigw.state.memory_counters import MemoryCounters
from aigw.values.counting import Charge, Correction, Verdict
from aigw.values.gateway import Gateway, SpendLimits, SpendRule
from aigw.values.limits import LimitRule
from aigw.values.record import Target
from aigw.values.step import Ask, Clocks, UpstreamRequest
from aigw.values.usage import NANOUSD_PER_USD, Usage

# A Monday, an hour of the clock begins.
NOW_S = 1_795_456_800


def visit(
    gateway: Gateway,
    caller: Caller = ANONYMOUS,
    provider: str = "openai",
    model: str = "gpt-4o",
    metadata: Mapping[str, str | int | float | bool] | None = None,
    price: Price | None = None,
    body: bytes = b"{}",
    ask: Ask | None = None,
    model_type: str = "chat",
) -> Visit:
    """A step; without a price its model has none."""
    request = UpstreamRequest(b"POST", b"https://provider.example/v1", (), body, Clocks())
    target = Target(provider, "chat/completions", model, model_type=model_type)
    return Visit(
        *(gateway, caller, target, request, {}, metadata or {}, b"", ask or Ask(model), NOW_S * 1000),
        price or unknown_price,
    )


def unknown_price(usage: Usage, response_model: str = "") -> int | None:
    """Of a model that is in no list."""
    return None


def fixed_price(usd: float) -> Price:
    """What a request costs that brings its whole price."""
    return lambda usage, response_model="": round(usd * NANOUSD_PER_USD)


def token_price(tokens_in: int, tokens_out: int) -> Price:
    """Nano-dollars a token."""
    return lambda usage, response_model="": usage.tokens_in * tokens_in + usage.tokens_out * tokens_out


def rated(*rules: LimitRule, **fields: object) -> Gateway:
    """A gateway with such rules."""
    return Gateway(id="default", rate_limits=rules, **fields)  # type: ignore[arg-type]


def budgeted(*rules: SpendRule, **fields: object) -> Gateway:
    """A gateway with such budgets."""
    return Gateway(id="default", spend_limits=SpendLimits(rules=rules), **fields)  # type: ignore[arg-type]


def budget(limit: float, window: int = 3600, **fields: object) -> SpendRule:
    """A budget in US dollars."""
    return SpendRule(limit=limit, limit_type="cost", window=window, **fields)  # type: ignore[arg-type]


class Desk:
    """
    Stage 7.

    Args:
        counters: In place of its own, in memory.
        watch: Is told of changes.
        now_s: What the clock shows at first.

    Attributes:
        clock: Tells the time.
        memory: Its own counters.
        counters: Those that it uses.
        reserve: What is tested.
    """

    def __init__(self, counters: ICounters | None = None, watch: Watch | None = None, now_s: float = NOW_S) -> None:
        self.clock = Clock()
        self.clock.advance(now_s)
        self.memory = MemoryCounters(self.clock, self.utc_ms)
        self.counters: ICounters = self.memory if counters is None else counters
        self.counts = StageCounts()
        self.estimates = Estimates(EstimateSettings())
        self.till = Till(self.counters, self.estimates, self.utc_ms, watch)
        sources = (GatewayRateLimits(), GatewaySpendLimits(), HolderLimits())
        self.reserve = Reserve(self.till, sources, self.counts)

    def utc_ms(self) -> int:
        """The wall clock."""
        return round(self.clock.seconds() * 1000)

    def take(self, step: Visit, held: Hold = NOTHING_HELD) -> Hold:
        """Take, where counters answer at once."""
        hold = self.reserve.take(step, held)
        assert isinstance(hold, Hold)
        return hold

    def used(self, hold: Hold) -> list[int]:
        """What the windows of a hold's limits contain now, in their order."""
        spans = [(entry.limit, entry.limit.window.at(self.utc_ms())) for entry in hold.entries]
        charges = [Charge(limit.key, span.slot, span.first, 1, 1, limit.limit, 0) for limit, span in spans]
        sums = self.memory.read(charges)
        assert isinstance(sums, tuple)
        return list(sums)


@implementer(ICounters)
class Away:
    """
    Counters that cannot be reached.

    Args:
        prefix: Only those whose key begins so.
        below: Answer for all others.
        later: Whether they fail by a Deferred.
    """

    available = False

    def __init__(self, prefix: str = "", below: ICounters | None = None, later: bool = False) -> None:
        self._prefix = prefix
        self._below = below
        self._later = later
        self.settled: list[Correction] = []

    def take(self, charges: Sequence[Charge]) -> Verdict | Deferred[Verdict]:
        """See `ICounters`."""
        if self._below is not None and not any(charge.key.startswith(self._prefix) for charge in charges):
            return self._below.take(charges)
        return self._fail()

    def read(self, charges: Sequence[Charge]) -> tuple[int, ...] | Deferred[tuple[int, ...]]:
        """See `ICounters`."""
        return self._fail()

    def settle(self, corrections: Sequence[Correction]) -> None:
        """See `ICounters`."""
        self.settled += corrections

    def _fail(self) -> Deferred[object]:
        if not self._later:
            raise StateUnavailable("away")
        failing: Deferred[object] = Deferred()
        failing.errback(StateUnavailable("away"))
        return failing

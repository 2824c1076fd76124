"""What holds for counters, wherever they are kept."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, gatherResults, maybeDeferred
from zope.interface.verify import verifyObject

from aigw.errors import StateUnavailable
from aigw.interfaces import ICounters
from aigw.state.settling import Batch
from aigw.values.counting import Charge, Correction, Verdict
from tests.state.model import Model

# Real: servers compare it with a clock of their own.
NOW_MS = time.time_ns() // 1_000_000
HOUR_MS = 3_600_000


def charge(
    key: str = "k", amount: int = 1, limit: int = 10, slot: int = 100, first: int | None = None, need: int | None = None
) -> Charge:
    """A charge whose slot counts for another hour."""
    first, need = slot if first is None else first, amount if need is None else need
    return Charge(key, slot, first, amount, need, limit, NOW_MS + HOUR_MS)


def correction(delta: int, key: str = "k", slot: int = 100, expires_ms: int = NOW_MS + HOUR_MS) -> Correction:
    """A correction of such a charge."""
    return Correction(key, slot, delta, expires_ms)


class CountersContract:
    """
    Mixed into a `TestCase` that has `counters`: a store, in reach, and `others`: two that share its server; a store of
    one process stands for all three.
    """

    counters: Any
    others: Sequence[Any]

    async def take(self, *charges: Charge) -> Verdict:
        """What becomes of these."""
        verdict: Verdict = await maybeDeferred(self.counters.take, charges)
        return verdict

    async def used(self, *charges: Charge) -> tuple[int, ...]:
        """What their slots hold."""
        held: tuple[int, ...] = await maybeDeferred(self.counters.read, charges or (charge(),))
        return held

    async def settle(self, *corrections: Correction) -> None:
        """Apply these, and wait until they are."""
        self.counters.settle(corrections)
        await self.settled()

    async def settled(self) -> None:
        """Wait until corrections are applied; of a store in this process they are at once."""

    def test_interface(self) -> None:
        """The store offers what controls ask of it, and is ready."""
        verifyObject(ICounters, self.counters)  # type: ignore[arg-type]  # mypy-zope wants the class itself
        self.assertTrue(self.counters.available)  # type: ignore[attr-defined]

    async def test_up_to_the_limit(self) -> None:
        """A limit of three lets three through; the fourth is told that there are three, and takes nothing."""
        for used in (1, 2, 3):
            self.assertEqual(await self.take(charge(limit=3)), Verdict(-1, (used,)))
        for _ in range(2):
            self.assertEqual(await self.take(charge(limit=3)), Verdict(0, (3,), 100))
        self.assertEqual(await self.used(), (3,))

    async def test_nothing_to_take(self) -> None:
        """A request without limits takes nothing and passes."""
        self.assertEqual(await self.take(), Verdict(-1, ()))

    async def test_exact_in_parallel(self) -> None:
        """Of 200 requests at once, through two gateways, a limit of ten lets ten through."""
        asked = [maybeDeferred(self.others[n % 2].take, [charge()]) for n in range(200)]
        verdicts: list[Verdict] = await gatherResults(asked)
        taken = [verdict.used[0] for verdict in verdicts if verdict.refused < 0]
        self.assertEqual(sorted(taken), list(range(1, 11)))
        self.assertEqual(await self.used(), (10,))

    async def test_exact_over_several_counters(self) -> None:
        """Requests that meet in several counters, named in any order, never stop each other nor pass a limit."""
        keys = ("a", "b", "c")
        asked = []
        for n in range(120):
            mine = [charge(keys[(n + i) % 3], limit=20) for i in range(2)]
            asked.append(maybeDeferred(self.others[n % 2].take, mine))
        verdicts: list[Verdict] = await gatherResults(asked)
        taken = sum(verdict.refused < 0 for verdict in verdicts)
        held = await self.used(*(charge(key) for key in keys))
        self.assertEqual(sum(held), 2 * taken)
        self.assertEqual(sorted(held)[1:], [20, 20])

    async def test_all_or_nothing(self) -> None:
        """A request that one of its limits refuses counts against none, and is told what all of them hold."""
        await self.take(charge("a", 4), charge("b", 9))
        verdict = await self.take(charge("a", 1), charge("b", 2), charge("c", 1, limit=0))
        self.assertEqual(verdict, Verdict(1, (4, 9, 0), 100))
        self.assertEqual(await self.used(charge("a"), charge("b"), charge("c")), (4, 9, 0))
        self.assertEqual(await self.take(charge("a", 6), charge("b", 1)), Verdict(-1, (10, 10)))

    async def test_need_below_amount(self) -> None:
        """What need not fit is still counted: a request may go past its limit by its estimate, the next may not."""
        self.assertEqual(await self.take(charge(amount=50, need=1)), Verdict(-1, (50,)))
        self.assertEqual(await self.take(charge(amount=50, need=1)), Verdict(0, (50,), 100))

    async def test_never_enough_room(self) -> None:
        """What can never fit is refused though nothing was taken; the present slot stands for the oldest."""
        self.assertEqual(await self.take(charge(amount=11)), Verdict(0, (0,), 100))
        self.assertEqual(await self.take(charge(amount=11, slot=100, first=90)), Verdict(0, (0,), 100))

    async def test_read_behind_settled(self) -> None:
        """Who settles, and asks at once what is spent, is told with what was just settled."""
        await self.take(charge(amount=4))
        for delta in (3, -2):
            self.counters.settle([correction(delta)])
            self.counters.settle([correction(1, "another")])
            asked = maybeDeferred(self.counters.read, [charge()])
            self.counters.settle([correction(1, "later")])
            self.assertEqual(await asked, (4 + 3 if delta > 0 else 4 + 3 - 2,))

    async def test_fixed_windows(self) -> None:
        """A new window begins with nothing."""
        await self.take(charge(amount=10))
        self.assertEqual((await self.take(charge(amount=1))).refused, 0)
        self.assertEqual(await self.take(charge(amount=10, slot=101)), Verdict(-1, (10,)))
        self.assertEqual(await self.used(charge(), charge(slot=101)), (10, 10))

    async def test_sliding_windows(self) -> None:
        """A sliding window counts every slot that it spans, names the oldest, and gives back what leaves it."""
        for slot in (100, 102, 103):
            await self.take(charge(amount=3, slot=slot, first=slot - 3))
        span = charge(amount=3, slot=103, first=100)
        self.assertEqual(await self.used(span, charge(slot=104, first=101), charge(slot=106, first=103)), (9, 6, 3))
        self.assertEqual(await self.take(span), Verdict(0, (9,), 100))
        self.assertEqual(await self.take(charge(amount=3, slot=104, first=101)), Verdict(-1, (9,)))
        self.assertEqual(await self.take(charge(amount=3, slot=104, first=101)), Verdict(0, (9,), 102))
        # A gateway whose clock is behind by a slot counts what is newer than its own present as little.
        self.assertEqual(await self.used(charge(slot=103, first=100)), (9,))

    async def test_a_window_far_on(self) -> None:
        """After many windows, only the last one counts, and the one before is not forgotten yet."""
        for slot in range(100, 200):
            await self.take(charge(slot=slot))
        held = await self.used(charge(slot=199), charge(slot=198), charge(slot=199, first=198))
        self.assertEqual(held, (1, 1, 2))

    async def test_settle(self) -> None:
        """An estimate becomes the real amount, be it less or more, also beyond the limit."""
        await self.take(charge(amount=5))
        await self.settle(correction(-3))
        self.assertEqual(await self.used(), (2,))
        await self.settle(correction(40))
        self.assertEqual(await self.used(), (42,))
        self.assertEqual((await self.take(charge())).refused, 0)
        await self.settle(correction(-41), correction(-1))
        self.assertEqual(await self.used(), (0,))
        self.assertEqual(await self.take(charge()), Verdict(-1, (1,)))

    async def test_settle_what_is_not_there(self) -> None:
        """What was spent counts though its counter was lost; what is given back to a lost counter makes no room."""
        await self.settle(correction(7, "spent"), correction(-7, "back"))
        self.assertEqual(await self.used(charge("spent"), charge("back")), (7, 0))
        await self.take(charge("low", 2))
        await self.settle(correction(-5, "low"))
        self.assertEqual(await self.used(charge("low")), (0,))

    async def test_settle_too_late(self) -> None:
        """A correction for a window that is over is forgotten, and brings nothing back."""
        await self.settle(correction(7, expires_ms=NOW_MS - 1))
        self.assertEqual(await self.used(), (0,))

    async def test_as_the_model(self) -> None:
        """After a long mixture of requests and corrections, the counters hold what the plainest bookkeeping says."""
        model, chance = Model(), random.Random(4)
        for step in range(300):
            now = 100 + step // 20
            keys = chance.sample("abcd", chance.randint(1, 3))
            if chance.random() < 0.3:
                corrections = [correction(chance.randint(-9, 9), key, now - chance.randint(0, 2)) for key in keys]
                model.settle(corrections)
                await self.settle(*corrections)
            else:
                charges = []
                for key in keys:
                    # What is counted in fixed and what in sliding windows; some gateways' clocks are a little behind.
                    slot, amount, slots = now - chance.randint(0, 1), chance.randint(1, 9), 1 if key < "c" else 5
                    first, need = slot - slots + 1, chance.randint(1, amount)
                    charges.append(charge(key, amount, 60, slot, first, need))
                self.assertEqual(await self.take(*charges), model.take(charges))  # type: ignore[attr-defined]

    async def test_any_name(self) -> None:
        """What callers put into metadata may be part of a counter's name, whatever it is."""
        names = ["x" * 5_000, "nul\0", "quote'\"\\ %s {} :1", "lone \ud800", "größer", ""]
        for name in names:
            self.assertEqual(await self.take(charge(name)), Verdict(-1, (1,)), name)
        self.assertEqual(await self.used(*map(charge, names)), (1,) * len(names))

    async def test_large_amounts(self) -> None:
        """A budget of a million dollars is counted to the nano-dollar."""
        million = 10**15
        await self.take(charge(amount=million - 1, limit=million))
        self.assertEqual((await self.take(charge(amount=2, limit=million))).refused, 0)
        self.assertEqual(await self.take(charge(amount=1, limit=million)), Verdict(-1, (million,)))

    async def test_absurd_amounts(self) -> None:
        """An amount beyond every budget is counted as very much, and does not break its counter."""
        await self.take(charge(amount=10**30, need=1, limit=10**31))
        await self.settle(correction(10**30))
        self.assertGreater((await self.used())[0], 10**15)
        self.assertEqual((await self.take(charge())).refused, 0)


class SharedCountersContract(CountersContract):
    """For stores with a server: what holds beyond one object."""

    async def settled(self) -> None:
        """See `CountersContract`."""
        await self.counters._settling.when_empty()

    async def test_leaving(self) -> None:
        """A request that leaves while it is counted does not count."""
        asked = self.counters.take([charge(amount=4)])
        asked.cancel()
        try:
            await asked
        except CancelledError:
            pass
        while self.counters._deadlines.running:
            await self.used()
        await self.settled()
        self.assertEqual(await self.used(), (0,))  # type: ignore[attr-defined]

    async def test_shared(self) -> None:
        """What one gateway takes and corrects, all see."""
        await self.take(charge(amount=6))
        await self.settle(correction(1))
        verdicts = [await other.take([charge(amount=1)]) for other in self.others]
        self.assertEqual(verdicts, [Verdict(-1, (8,)), Verdict(-1, (9,))])  # type: ignore[attr-defined]

    async def test_correction_sent_twice(self) -> None:
        """A correction whose acknowledgement was lost is sent again, and counts once."""
        store = self.counters._store
        for number in (1, 1, 2, 1):
            await store.settle(Batch(b"w" * 16, number, [correction(5)]))
        self.assertEqual(await self.used(), (10,))  # type: ignore[attr-defined]


async def refusal(asked: Any) -> StateUnavailable:
    """The error of a question that has to fail."""
    try:
        await maybeDeferred(asked)
    except StateUnavailable as error:
        return error
    raise AssertionError("there was an answer")

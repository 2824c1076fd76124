"""A budget that is counted in memory, across kill -9 of its process."""

from __future__ import annotations

from signal import SIGKILL

from tests.integration.crowd import Crowd
from tests.integration.limits import CENT, CENT_NANOUSD, ROOM, STREAM, WHOLE, LimitCase


class KilledCase(LimitCase):
    async def setUp(self) -> None:
        await super().setUp()
        # The rebuild may take its time here: requests wait for it rather than be refused without being counted.
        self.config += "[state]\nrebuild_wait_s = 60\n"

    async def budget_is_spent(self) -> None:
        """
        A process is killed after it has answered half of a budget's requests, while it streams the other half. The
        first request after the next start finds the budget spent.
        """
        gateway = await self.start()
        crowd = Crowd(self, [gateway], "budget")
        for query in (WHOLE, STREAM):
            asked = await crowd.ask(ROOM // 2, query, CENT)
            self.assertEqual({one.status for one in asked}, {200})
        await gateway.stop(SIGKILL)
        again = await self.start()
        crowd = Crowd(self, [again], "budget")
        (first,) = await crowd.ask(1, WHOLE, CENT)
        self.assertEqual((first.status, first.code), (429, 2045))
        for one in await crowd.ask(ROOM, WHOLE, CENT):
            self.assertEqual((one.status, one.code), (429, 2045))
        self.assertEqual(len(self.stub.requests), ROOM)


class KilledTests(KilledCase):
    """With a PostgreSQL that outlives the gateway."""

    async def test_budget(self) -> None:
        """It is still spent, and neither holds nor costs were forgotten, or counted twice."""
        await self.budget_is_spent()
        self.assertEqual(await self.spent(), ROOM * CENT_NANOUSD)

    async def test_room_that_is_left(self) -> None:
        """Of a budget that a killed process has spent but for a cent, a cent is left, also for a second kill."""
        gateway = await self.start()
        await Crowd(self, [gateway], "budget").ask(ROOM - 1, STREAM, CENT)
        await gateway.stop(SIGKILL)
        again = await self.start()
        statuses = [one.status for one in await Crowd(self, [again], "budget").ask(6, WHOLE, CENT)]
        self.assertEqual(sorted(statuses), [200] + 5 * [429])
        await again.stop(SIGKILL)
        last = await self.start()
        (one,) = await Crowd(self, [last], "budget").ask(1, WHOLE, CENT)
        self.assertEqual((one.status, one.code), (429, 2045))


class KilledEmbeddedTests(KilledCase):
    """With the gateway's own PostgreSQL, which the next start takes over."""

    embedded = True

    async def test_budget(self) -> None:
        """It is still spent."""
        await self.budget_is_spent()

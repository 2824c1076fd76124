from __future__ import annotations

from signal import SIGKILL

from tests.integration import IntegrationTestCase, metric

REQUESTS = 50


class PowerTests(IntegrationTestCase):
    """`durability = "power"`: on the disk before the final frame."""

    async def test_killed_after_the_final_frames(self) -> None:
        """All answers come, in groups that share a sync; killed at once, it has their rows at its next start."""
        self.config = '[spool]\ndurability = "power"\n[shipper]\nship_every_s = 3600.0\n'
        gateway = await self.start()
        client = await self.connect(gateway)
        for n in range(REQUESTS):
            client.ask(f"id-{n}", stream=n % 2 == 0)
        for n in range(REQUESTS):
            await client.ending(f"id-{n}")
        self.assertEqual(await metric(self.reactor, gateway.control_url, "aigw_log_ended_total"), REQUESTS)
        await gateway.stop(SIGKILL)
        self.config = '[spool]\ndurability = "power"\n'
        await self.start()
        rows = await self.when_rows(REQUESTS)
        self.assertEqual(sorted(rows), sorted((f"id-{n}", 0, True) for n in range(REQUESTS)))

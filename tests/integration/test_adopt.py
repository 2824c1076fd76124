from __future__ import annotations

from signal import SIGKILL

from aigw.testing.gateway import GatewayProcess
from tests.integration import IntegrationTestCase
from tests.integration.test_database_outage import NOWHERE


class AdoptTests(IntegrationTestCase):
    """The disk of a machine that is gone."""

    async def test_logs_of_another_machine(self) -> None:
        """What a dead gateway could not ship any more is shipped by another one that is shown its spool, once."""
        lost = GatewayProcess.spawn(self.reactor, self.data_dir.with_name("lost"), ["--database", NOWHERE])
        self.addCleanup(self._end, lost)
        await lost.ready()
        client = await self.connect(lost)
        client.ask("from-the-lost-machine")
        await client.ending("from-the-lost-machine")
        await lost.stop(SIGKILL)
        await self.start()
        spool = str(self.data_dir.with_name("lost") / "spool")
        self.assertIn("1 spool is on the way", await self.aigw("spool", "adopt", spool))
        self.assertEqual(await self.when_rows(1), [("from-the-lost-machine", 0, True)])

"""A database whose schema is not this release's."""

from __future__ import annotations

from typing import Any

import psycopg2
from twisted.internet.threads import deferToThread

from aigw.storage.postmaster import processes_of
from aigw.testing.gateway import GatewayProcess
from tests.integration import IntegrationTestCase

NEWER = "INSERT INTO aigw_migrations (number, name, sha256) VALUES (9999, 'from_the_future', 'x')"
CHANGED = "UPDATE aigw_migrations SET sha256 = 'x' WHERE number = 1"
END_SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def execute(dsn: Any, *statements: str) -> None:
    """Run statements, each committed by itself."""
    connection = psycopg2.connect(dsn)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


class RefusedSchemaTests(IntegrationTestCase):
    """Waiting does not help, so the process ends and says what does."""

    async def refused(self) -> GatewayProcess:
        """A gateway that was started on the database and has ended."""
        gateway = GatewayProcess.spawn(self.reactor, self.data_dir, [*self.options, "--database", self.dsn])
        self.addCleanup(self._end, gateway)
        self.assertEqual(await gateway.ended(), 1)
        return gateway

    async def test_newer_than_the_release(self) -> None:
        """An older release on a newer database ends with 1 and says which release to start."""
        await deferToThread(execute, self.dsn, NEWER)
        gateway = await self.refused()
        self.assertRegex(gateway.output, r"(?m)^aigateway: .*migration 9999 \(from_the_future\).*newer release")
        self.assertNotIn("Traceback", gateway.output)

    async def test_changed(self) -> None:
        """A migration that was applied with another text ends the start as well."""
        await deferToThread(execute, self.dsn, CHANGED)
        self.assertRegex((await self.refused()).output, r"(?m)^aigateway: Migration 1 .*another text")

    async def test_while_it_runs(self) -> None:
        """A gateway whose database is migrated by a newer one, as when nodes are updated in turn, goes on serving."""
        gateway = await self.start()
        await self.reached(gateway)
        await deferToThread(execute, self.dsn, NEWER, END_SESSIONS)
        await self.until(lambda: "from_the_future" in gateway.output)
        client = await self.connect(gateway)
        client.ask("after")
        self.assertEqual((await client.ending("after"))["metadata"]["status"], 200)
        self.assertEqual(await gateway.stop(), 0)


class EmbeddedSchemaTests(IntegrationTestCase):
    """The same with the database that the gateway brings."""

    embedded = True

    async def test_newer_than_the_release(self) -> None:
        """After a step back to an older release the start says so, exits 1, and leaves no database running."""
        gateway = await self.start()
        await deferToThread(execute, f"host={self.home} dbname=aigw user=aigw", NEWER)
        self.assertEqual(await gateway.stop(), 0)
        again = GatewayProcess.spawn(self.reactor, self.data_dir, environ=self.environ)
        self.addCleanup(self._end, again)
        self.assertEqual(await again.ended(), 1)
        self.assertRegex(again.output, r"(?m)^aigateway: .*from_the_future.*newer release")
        self.assertEqual(processes_of(self.cluster), [])

"""`aigw spool`."""

from __future__ import annotations

from pathlib import Path

from tests.cli import CommandTestCase


class AdoptTests(CommandTestCase):
    async def test_adopt(self) -> None:
        """The gateway gets the whole path, wherever the command was run, and says how many spools it ships."""
        control = self.start()
        asked: list[Path] = []

        async def adopt(path: Path) -> int:
            asked.append(path)
            return 1

        control.adopt = adopt
        ran = await self.run_aigw("spool", "adopt", "old/spool")
        self.assertEqual((asked, ran.code), ([self.folder / "old" / "spool"], 0))
        self.assertIn("1 spool is on the way", ran.out)
        self.assertEqual((await self.run_aigw("spool", "adopt", "/old", "--json")).objects(), [{"adopted": 1}])

    async def test_no_spool(self) -> None:
        """A folder without a spool is told, and the exit code says so."""
        self.start()
        ran = await self.run_aigw("spool", "adopt", "/old", "--json")
        self.assertEqual((ran.error()["code"], ran.code), ("no-spool", 1))

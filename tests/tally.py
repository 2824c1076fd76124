"""
Reads the summary at the end of trial's output and says whether the run counts.

Trial exits 0 when it found no tests, and when it skipped them all. `python -m tests.tally LOG` does not. It uses the
standard library only, because it must also speak when nothing could be installed.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

_RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
_VERDICT = re.compile(r"^(?:PASSED|FAILED)(?: \(([^)]*)\))?$", re.MULTILINE)


@dataclass(frozen=True)
class Tally:
    """
    What came of a run.

    Attributes:
        ran: Tests that trial counts as run, the skipped ones included.
        passed: Tests that went as expected.
        failed: Failures, errors, and successes where a failure was expected.
        skipped: Tests that did not run.
    """

    ran: int
    passed: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        line = f"{self.passed} passed, {self.failed} failed"
        return f"{line}, {self.skipped} skipped" if self.skipped else line


def read_tally(output: str) -> Tally | None:
    """
    The tally of the last summary in trial's output.

    Args:
        output: Everything that trial printed; tests may have printed summaries of their own before the last.
    Returns:
        None when there is no summary: trial died before its end.
    """
    ran = list(_RAN.finditer(output))
    verdict = _VERDICT.search(output, ran[-1].end()) if ran else None
    if verdict is None:
        return None
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", verdict[1] or "")}
    return Tally(
        ran=int(ran[-1][1]),
        passed=counts.get("successes", 0) + counts.get("expectedFailures", 0),
        failed=sum(counts.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses")),
        skipped=counts.get("skips", 0),
    )


def objections(tally: Tally | None, floor: int, skips_allowed: bool) -> list[str]:
    """
    Why a run does not count.

    Args:
        tally: See `read_tally`.
        floor: Fewest tests that must have run.
        skips_allowed: False where every system program can be installed.
    Returns:
        One text an objection, none for a good run.
    """
    if tally is None:
        return ["trial printed no summary: it died before its end"]
    found = []
    if tally.failed:
        found.append(f"{tally.failed} tests failed")
    if tally.ran < floor:
        found.append(f"only {tally.ran} tests ran; the Makefile's FLOOR is {floor}")
    if tally.skipped and not skips_allowed:
        found.append(f"{tally.skipped} tests were skipped, and CI is set")
    return found


def main(arguments: list[str]) -> int:
    """
    The command.

    Returns:
        Exit code: 0 for a run that counts.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.tally", description=__doc__)
    parser.add_argument("log", type=Path, help="what trial printed")
    parser.add_argument("--floor", type=int, default=1, help="fewest tests that must have run")
    parser.add_argument("--no-skips", action="store_true", help="a skipped test is an objection")
    parser.add_argument("--line", action="store_true", help="only print the tally; exit 0 whenever there is one")
    options = parser.parse_args(arguments)
    tally = read_tally(options.log.read_text(errors="replace")) if options.log.exists() else None
    if options.line:
        print(tally or "no summary")
        return 0 if tally else 1
    found = objections(tally, options.floor, not options.no_skips)
    for objection in found:
        print(f"make test: {objection}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

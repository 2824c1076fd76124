"""Records of runs, and what has changed between two."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.scenarios import Found
from benchmarks.table import grid

FOLDER = Path(__file__).with_name("records")
_COMPARED = ("cpu_us", "postgres_us", "per_s", "p50_ms", "p99_ms", "rss_mb")


def write(path: Path, found: Found, options: dict[str, Any]) -> None:
    """Keep what was found, and where."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    record = {"machine": machine, "options": options, **asdict(found)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def find(name: str) -> Path:
    """A record by its path, or by its name in the folder of records."""
    path = Path(name)
    return path if path.exists() else FOLDER / f"{name}.json"


def compare(old: Path, new: Path) -> str:
    """
    Two records, side by side.

    Times of two runs say little, even on one machine; ratios to a peer, each measured within one run, say more. So
    those come first.
    """
    before, after = (json.loads(path.read_text()) for path in (old, new))
    ratios = [
        (scenario, front, other, f"{was:.3f}", f"{now:.3f}", _change(was, now))
        for scenario, fronts in after["ratios"].items()
        for front, others in fronts.items()
        for other, now in others.items()
        if (was := before["ratios"].get(scenario, {}).get(front, {}).get(other))
    ]
    numbers = [
        (scenario, target, name, f"{was:.2f}", f"{values[name]:.2f}", _change(was, values[name]))
        for scenario, targets in after["numbers"].items()
        for target, values in targets.items()
        for name in _COMPARED
        if (was := before["numbers"].get(scenario, {}).get(target, {}).get(name))
    ]
    return "\n\n".join(
        (
            "CPU for a request, to a peer's\n" + grid(("scenario", "front", "to", "old", "new", "change"), ratios),
            "Numbers of each run\n" + grid(("scenario", "gateway", "what", "old", "new", "change"), numbers),
        )
    )


def _change(old: float, new: float) -> str:
    return f"{(new / old - 1) * 100:+.1f} %"

"""
`twistd`, with a clock on the reactor: `python -m benchmarks.turns FILE` and twistd's own arguments.

A turn is the time between two looks at the sockets, in which nothing else can happen. On SIGUSR2 what was found since
the last one is written to the file, as JSON, and counting begins anew. It costs about a microsecond a turn, so runs in
which CPU is measured do without.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

_SLOW_S = 0.025


class Turns:
    """
    Stands in the place of the reactor's poller.

    Args:
        poller: The real one.
        file: Takes the findings.
    """

    def __init__(self, poller: Any, file: Path) -> None:
        self._poller = poller
        self._file = file
        self._began = time.monotonic()
        self._began_cpu = time.thread_time()
        self._collecting = self._began
        gc.callbacks.append(self._collected)
        self._clear()

    def _collected(self, phase: str, about: dict[str, int]) -> None:
        """The collector starts, or stops; it runs in the middle of turns."""
        if phase == "start":
            self._collecting = time.monotonic()
        else:
            self._longest_gc_s = max(self._longest_gc_s, time.monotonic() - self._collecting)

    def _clear(self) -> None:
        self._longest_s = self._longest_cpu_s = self._longest_gc_s = 0.0
        self._slow = self._turns = 0

    def poll(self, *arguments: Any) -> Any:
        """End one turn, wait for the next."""
        took_s = time.monotonic() - self._began
        self._turns += 1
        self._slow += took_s > _SLOW_S
        self._longest_s = max(self._longest_s, took_s)
        self._longest_cpu_s = max(self._longest_cpu_s, time.thread_time() - self._began_cpu)
        try:
            return self._poller.poll(*arguments)
        finally:
            self._began = time.monotonic()
            self._began_cpu = time.thread_time()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)

    def write(self, number: int, frame: Any) -> None:
        """Tell what was found since the last time; a handler of a signal."""
        found = {
            "longest_ms": self._longest_s * 1000,
            "longest_cpu_ms": self._longest_cpu_s * 1000,
            "longest_gc_ms": self._longest_gc_s * 1000,
            "over_25_ms": self._slow,
            "turns": self._turns,
        }
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text(json.dumps(found))
        os.replace(unfinished, self._file)
        self._clear()


def main() -> None:
    """Put the clock in, then be twistd."""
    from twisted.internet import epollreactor

    epollreactor.install()
    from twisted.internet import reactor
    from twisted.scripts.twistd import run

    file = Path(sys.argv.pop(1))
    stand_in: Any = reactor
    stand_in._poller = turns = Turns(stand_in._poller, file)
    signal.signal(signal.SIGUSR2, turns.write)
    run()


if __name__ == "__main__":
    main()

"""
What one exchange costs the spool: CPU of `begin` + `end`, and of the write that a turn shares.

Run: python benchmarks/spool_append.py [exchanges a turn]
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path

from twisted.internet.task import Clock

from aigw.logs.directory import SpoolDirectory
from aigw.logs.quota import Quota
from aigw.logs.settings import SpoolSettings
from aigw.logs.spool import Spool
from aigw.logs.stats import LogStats
from aigw.logs.volume import Volume
from aigw.values.ids import LogIds
from aigw.values.record import Attempt, Begin, End, Origin, Target
from aigw.values.usage import Usage

TURNS = 2_000


class TimedVolume(Volume):
    """Counts the CPU that the kernel's write costs."""

    cpu_s = 0.0

    def write(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        """See `Volume`."""
        start = time.thread_time()
        try:
            return super().write(fd, data, offset)
        finally:
            self.cpu_s += time.thread_time() - start


def main(per_turn: int) -> None:
    """Measure and print."""
    root = Path(tempfile.mkdtemp())
    clock, stats, volume = Clock(), LogStats(), TimedVolume()
    settings = SpoolSettings(spool_bytes=64 * 1024**3)
    directory = SpoolDirectory.create(root, uuid.uuid4())
    spool = Spool(directory, clock, settings, Quota(settings.spool_bytes, stats), stats, volume)
    ids = LogIds(lambda: time.time_ns() // 1_000_000)
    target = Target("openai", "chat/completions", "gpt-4o-mini", "application/json", 170)
    body, usage, attempts = b"x" * 300, Usage(40, 60), [Attempt(0, "openai", 200, 0, 0, 210, 400, "gpt-4o-mini")]

    def nothing() -> None:
        pass

    elapsed = 0.0
    for turn in range(TURNS):
        origins = [Origin(ids.next(), "local", "default", "websocket", f"e{turn}", "tok") for _ in range(per_turn)]
        begins = [Begin(origin, target) for origin in origins]
        ends = [
            End(origin, target, 400, 210, 200, True, True, usage=usage, attempts=attempts, response_body=body)
            for origin in origins
        ]
        start = time.thread_time()
        for begin in begins:
            spool.begin(begin, nothing)
        clock.advance(0)
        for end in ends:
            spool.end(end, nothing)
        clock.advance(0)
        elapsed += time.thread_time() - start
    count = TURNS * per_turn
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{per_turn} a turn: {(elapsed - volume.cpu_s) / count * 1e6:.2f} us an exchange without write()")
    print(
        f"write(): {volume.cpu_s / count * 1e6:.2f} us an exchange, {volume.cpu_s / stats.writes * 1e6:.1f} us a call"
    )
    print(f"{stats.writes} writes, {stats.spool_bytes / count:.0f} bytes an exchange, {used} MB resident")
    spool.close()
    shutil.rmtree(root)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)

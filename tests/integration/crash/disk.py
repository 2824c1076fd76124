"""The disk of the spool: one of its own that fills up, where root can make one."""

from __future__ import annotations

import subprocess
from pathlib import Path


class SpoolDisk:
    """
    A small disk under the spool's folder, or else a bound on the spool of the same size.

    Args:
        folder: Of the spool; made here.
        size_bytes: Of the disk.
    Attributes:
        mounted: Whether there is a disk; else `config` keeps the spool as small.
    """

    def __init__(self, folder: Path, size_bytes: int) -> None:
        folder.mkdir(mode=0o700, parents=True)
        self._folder = folder
        self._size_bytes = size_bytes
        options = f"size={size_bytes},mode=0700"
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        self.mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0

    @property
    def config(self) -> str:
        """The gateway's settings."""
        # Small segments, so that the disk is full when it is full, and not when the last eighth is left.
        lines = ["[spool]", f"segment_bytes = {max(65_536, self._size_bytes // 32)}"]
        if not self.mounted:
            lines.append(f"spool_bytes = {self._size_bytes}")
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        megabytes = self._size_bytes / 2**20
        kind = "a disk of its own" if self.mounted else "no disk of its own (mount needs root), spool_bytes instead"
        return f"{kind}, {megabytes:.0f} MiB"

    def close(self) -> None:
        """Take the disk away. Nobody may use it any more."""
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self._folder)], check=True)
            self.mounted = False

"""How far a spool has been read."""

from __future__ import annotations

from typing import NamedTuple

from aigw.logs.frame import HEADER_BYTES


class Position(NamedTuple):
    """
    A place between two frames of a spool; later places compare greater.

    Attributes:
        segment: Number of the segment.
        offset: Within it.
    """

    segment: int
    offset: int

    @classmethod
    def start_of(cls, segment: int) -> Position:
        """Before the first frame of a segment."""
        return cls(segment, HEADER_BYTES)

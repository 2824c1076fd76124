"""Moments as texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_text(ms: int) -> str:
    """A moment as ISO 8601 in UTC, with milliseconds: `2026-11-23T15:05:48.123Z`."""
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_utc(text: str) -> int | None:
    """
    A moment as a person typed it, in ISO 8601: a date, or date and time, by UTC unless it says otherwise.

    Returns:
        Milliseconds since the epoch; None when it is no such text.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)

"""Lengths of time as people write them."""

from __future__ import annotations

import argparse
import re

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def duration_s(text: str) -> int:
    """
    A duration such as `30d`, `12h`, `90m`, `45s` or plain seconds, in seconds.

    Raises:
        ArgumentTypeError: It is none.
    """
    match = re.fullmatch(r"([0-9]{1,9})([smhdw]?)", text.strip())
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 90m, 12h or 30d")
    return int(match[1]) * _SECONDS[match[2]]

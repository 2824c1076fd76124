"""Options that say what a token or a team is held to."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from aigw.cli.durations import duration_s

FIELDS = ("models", "providers", "origins", "limits", "locked")


def add_bounds(verb: argparse.ArgumentParser) -> None:
    """Give a verb the options."""

    def option(name: str, field: str, metavar: str, text: str, kind: Any = str) -> None:
        verb.add_argument(name, dest=field, action="append", type=kind, metavar=metavar, help=text)

    option("--model", "models", "NAME", "only this model; repeatable, and * stands for anything but /")
    option("--provider", "providers", "SLUG", "only this provider; likewise")
    option("--origin", "origins", "URL", "only pages of this origin, such as https://app.example; repeatable")
    option("--rate", "limits", "N/TIME", "at most so many requests, such as 100/60s; repeatable", rate)
    option("--budget", "limits", "USD/TIME", "at most so many dollars, such as 5/30d; repeatable", budget)
    option("--limit", "limits", "JSON", 'any limit, such as {"limit": 10, "window": 60, "per": ["model"]}', limit)
    option("--lock", "locked", "HEADER", "ignore this cf-aig-* header of its callers; * for all that set something")


def bounds_of(options: argparse.Namespace) -> dict[str, Any]:
    """What was said of bounds."""
    return {field: value for field in FIELDS if (value := getattr(options, field)) is not None}


def rate(text: str) -> dict[str, Any]:
    """
    A limit of requests out of `100/60s`.

    Raises:
        ArgumentTypeError: It is none.
    """
    number, window_s = _fraction(text, "100/60s")
    return {"limit": number, "window": window_s}


def budget(text: str) -> dict[str, Any]:
    """
    A limit of dollars out of `5/30d`.

    Raises:
        ArgumentTypeError: It is none.
    """
    number, window_s = _fraction(text, "5/30d")
    return {"limit": number, "window": window_s, "unit": "usd"}


def limit(text: str) -> dict[str, Any]:
    """
    A limit as JSON; the gateway judges what is in it.

    Raises:
        ArgumentTypeError: It is no JSON object.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object")
    return found


def _fraction(text: str, example: str) -> tuple[float, int]:
    number, slash, window = text.partition("/")
    if not slash or re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", number) is None or float(number) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no limit such as {example}")
    return float(number), duration_s(window)

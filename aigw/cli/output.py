"""What the command prints: tables for people, JSON for programs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

# Exit codes.
OK, REFUSED, NOT_RUNNING, INTERRUPTED = 0, 1, 3, 130


def as_json(options: argparse.Namespace) -> bool:
    """Whether a program reads the output."""
    return bool(getattr(options, "json", False))


def complain(options: argparse.Namespace, code: str, message: str, exit_code: int) -> int:
    """Say on standard error what went wrong; returns the exit code."""
    text = json.dumps({"error": {"code": code, "message": message}}) if as_json(options) else f"aigw: {message}"
    print(text, file=sys.stderr)
    return exit_code


def print_json(value: object) -> None:
    """One value on one line."""
    print(json.dumps(value, ensure_ascii=False))


def print_rows(options: argparse.Namespace, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> int:
    """Rows as one object a line, or as a table of some columns."""
    if as_json(options):
        for row in rows:
            print_json(row)
    else:
        heads = tuple(column.upper().replace("_", " ") for column in columns)
        print_table([heads, *(tuple(cell(row.get(column)) for column in columns) for row in rows)])
    return OK


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Columns of the width of their widest cell; the last one is not padded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def cell(value: object) -> str:
    """A value as it stands in a table, on one line."""
    if value in (None, "", []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return readable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), "")


def readable(text: str, kept: str = "\n\t") -> str:
    """What a client or a provider wrote, without what would steer the operator's terminal."""
    return "".join(
        character if character.isprintable() or character in kept else "\N{REPLACEMENT CHARACTER}" for character in text
    )

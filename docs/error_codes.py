"""
Writes the tables of errors into `errors.rst`, out of `aigw/errors.py`: `python docs/error_codes.py`.

The page is committed as it stands; a test fails when it is out of date.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from aigw import errors
from aigw.errors import GatewayError

PAGE = Path(__file__).with_name("errors.rst")
MARK = ".. The rest of this page is written by docs/error_codes.py."

# Nobody is left to be told of these.
LOG_ONLY = (errors.ClientGone, errors.Interrupted)


def kinds(root: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """Every class of failure that has a code."""
    for kind in root.__subclasses__():
        yield kind
        yield from kinds(kind)


def table(listed: list[type[GatewayError]]) -> str:
    """The rows of some classes, in the order of their codes."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 8 8 8 76", ""]
    rows = [("Code", "Status", "Again", "What it says, and what it means")]
    for kind in sorted(listed, key=lambda kind: (kind.code, kind.__name__)):
        meaning = " ".join((inspect.getdoc(kind) or "").split())
        rows.append((str(kind.code), str(kind.status), "yes" if kind.retryable else "no", f"*{kind.text}*. {meaning}"))
    for row in rows:
        lines += [f"   {'*' if column == 0 else ' '} - {cell}" for column, cell in enumerate(row)]
    return "\n".join(lines)


def page() -> str:
    """The whole page: what was written by hand, and the tables."""
    hand = PAGE.read_text().partition(MARK)[0]
    told = [kind for kind in set(kinds()) if kind not in LOG_ONLY]
    parts = (
        f"{hand}{MARK}",
        "Codes\n-----",
        table(told),
        "Only in the log\n---------------",
        "These end an exchange whose client is told nothing any more.",
        table(list(LOG_ONLY)),
    )
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())

"""What the start says, and the token that only a first start makes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aigw import __version__
from aigw.controls.token_sync import sync
from aigw.controls.tokens import Tokens
from aigw.serving.patience import at_most
from aigw.storage.late import LateDatabase
from aigw.values.token import SCOPES

# How long the first start waits to hear whether the database knows any token.
FIRST_TOKEN_S = 3.0

_log = Logger()


async def first_token(reactor: Any, tokens: Tokens, database: LateDatabase) -> str:
    """
    The token of the very first start: none is there, and the database, should it be in reach, knows none either.

    Returns:
        Its text; empty when there are tokens, or nobody would read it.
    """
    if tokens.all():
        return ""
    if _is_null(1):
        _log.warn("There is no token yet, and nobody to show one to; make one: aigw token create")
        return ""
    # A node that joins others must not print a token of every scope merely because the database was slow.
    comparing = Deferred.fromCoroutine(_compare(tokens, database))
    comparing.addErrback(lambda failure: _log.info("the database told no tokens", failure=failure))
    await at_most(reactor, comparing, FIRST_TOKEN_S)
    if tokens.all():
        return ""
    return (await tokens.create("first", SCOPES, "local", None, None)).text


async def _compare(tokens: Tokens, database: LateDatabase) -> None:
    await database.reached()
    await sync(tokens, database)


def greeting(
    took_s: float, applications: Sequence[str], operators: Sequence[str], folder: Path, token: str, workers: int = 1
) -> str:
    """
    What the start says, once the gateway serves.

    Args:
        took_s: Seconds since the boot began.
        applications, operators: Addresses of the data port and of the control port.
        folder: Where the data are.
        token: Of the first start; empty for none.
        workers: Processes that accept connections.
    """
    lines = [f"aigw {__version__} is ready ({took_s:.1f} s)"]
    lines += [f"  applications  {address}/v1/local/default" for address in applications]
    lines += [f"  operators     {address}  (/health, /ready, /metrics)" for address in operators]
    lines.append(f"  data          {folder}")
    if workers > 1:
        lines.append(f"  workers       {workers}")
    if token:
        command = shutil.which("aigw", path=os.path.dirname(sys.argv[0])) or "aigw"
        lines += [
            f"  token         {token}  (every scope; shown this once)",
            "",
            "Paste this into a second terminal for a streamed answer:",
            f'  {command} chat --url {applications[0]}/v1/local/default --token {token} "Tell me about tides."',
            "",
        ]
    return "\n".join(lines) + "\n"


def _is_null(descriptor: int) -> bool:
    """Whether what is written there is read by nobody, as after twistd has put itself into the background."""
    try:
        return os.fstat(descriptor).st_rdev == os.stat(os.devnull).st_rdev
    except OSError:
        return True

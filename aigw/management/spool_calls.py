"""Spools over the internal API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aigw.errors import ConfigurationError
from aigw.management.call import Call, Refused


class AdoptForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Which spool is to be taken in.

    Attributes:
        path: A spool's folder, or one that holds several, as the gateway sees it; absolute.
    """

    path: Annotated[str, Meta(pattern=r"^/[^\x00]*\Z", max_length=4096)]


class SpoolCalls:
    """
    Takes in spools that lie elsewhere.

    Args:
        adopt: Given a folder, copies and ships what it holds; how many spools that were.
    """

    _log = Logger()

    def __init__(self, adopt: Callable[[Path], Awaitable[int]]) -> None:
        self._adopt = adopt

    async def adopt(self, call: Call) -> object:
        """How many spools are being shipped now. A caller who leaves does not stop a copy half-way."""
        path = Path(call.read(AdoptForm).path)
        told: Deferred[int] = Deferred()
        Deferred.fromCoroutine(self._take_in(path)).addCallbacks(told.callback, told.errback)
        return {"adopted": await told}

    async def _take_in(self, path: Path) -> int:
        try:
            return await self._adopt(path)
        except ConfigurationError as error:
            raise Refused(404, "no-spool", str(error)) from error
        except OSError as error:
            why = error.strerror or str(error)
            # Whoever asked may have left.
            self._log.warn("The spools in {path} were not adopted: {why}", path=str(path), why=why)
            raise Refused(409, "disk", f"{path}: {why}") from error

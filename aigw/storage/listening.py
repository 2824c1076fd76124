"""LISTEN that outlives its connection."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aigw.storage.link import Link


class Ear:
    """
    Who listens to which channel, on whichever connection there is.

    Attributes:
        channels: Callables by channel.
    """

    def __init__(self) -> None:
        self.channels: dict[str, list[Callable[[str | None], None]]] = {}
        self._link: Link | None = None
        self._log = Logger()

    def add(self, channel: str, heard: Callable[[str | None], None]) -> None:
        """Remember a listener; when there is a connection, it begins to hear now."""
        self.channels.setdefault(channel, []).append(heard)
        link = self._link
        if link is not None and link.is_open:
            Deferred.fromCoroutine(self._subscribe(link, channel)).addErrback(lambda _: link.close())

    async def attach(self, link: Link) -> None:
        """Listen on a new connection to everything."""
        self._link = link
        link.on_notify(self._tell)
        for channel in list(self.channels):
            await self._subscribe(link, channel)

    def close(self, why: str) -> None:
        """Drop the connection; the next one tells the listeners to read again."""
        if self._link is not None:
            self._link.close(why)

    async def _subscribe(self, link: Link, channel: str) -> None:
        await link.query(f"LISTEN {channel}")
        self._tell(channel, None)

    def _tell(self, channel: str, payload: str | None) -> None:
        for heard in self.channels.get(channel, ()):
            try:
                heard(payload)
            except Exception:
                self._log.failure("A listener to {channel} failed", channel=channel)

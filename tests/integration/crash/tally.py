"""What clients and provider saw, and how it compares with the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs
import psycopg2

# The spool refused the request, so that nobody was asked: by design the one ending without a row.
SPOOL_FULL = 4011


@attrs.frozen
class Final:
    """
    A terminal message that reached a client.

    Attributes:
        log_id: As the message names it.
        complete: Whether it said that the answer is whole.
    """

    log_id: str
    complete: bool


@attrs.define
class Tally:
    """
    Attributes:
        asked: Requests that clients sent.
        finals: By event id; refusals for want of room are not among them.
        refused: Requests that found the spool full.
        seen: Event ids of requests that reached the provider.
        garbled: Answers that were not what the provider had sent, one text each.
    """

    asked: int = 0
    finals: dict[str, Final] = attrs.field(factory=dict)
    refused: int = 0
    seen: set[str] = attrs.field(factory=set)
    garbled: list[str] = attrs.field(factory=list)
    _armed: tuple[str, Callable[[], None]] | None = None

    def note_final(self, event_id: str, final: Final) -> None:
        """A client got a terminal message."""
        self.finals[event_id] = final
        self._strike("final")

    def note_seen(self, event_id: str) -> None:
        """The provider got the head of a request."""
        self.seen.add(event_id)
        self._strike("seen")

    def arm(self, event: str, call: Callable[[], None]) -> None:
        """Call once, in the very moment of the next `final` or `seen`: what had to be safe before is safe by now."""
        self._armed = event, call

    def _strike(self, event: str) -> None:
        if self._armed is not None and self._armed[0] == event:
            (_, call), self._armed = self._armed, None
            call()


@attrs.frozen
class Verdict:
    """
    Attributes:
        rows: In the table of logs.
        finals_without_row: Finals whose row is missing, or tells another ending than the client was told.
        seen_without_row: Requests that the provider saw and that have no row.
        duplicates: Rows too many for a request, and requests counted twice in the rollups.
    """

    rows: int
    finals_without_row: int
    seen_without_row: int
    duplicates: int

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.finals_without_row or self.seen_without_row or self.duplicates)

    def __str__(self) -> str:
        return (
            f"finals_without_row={self.finals_without_row} seen_without_row={self.seen_without_row}"
            f" duplicates={self.duplicates}"
        )


def judge(tally: Tally, dsn: str) -> Verdict:
    """
    Compare with the tables. Blocks.

    Args:
        tally: See there.
        dsn: Of the database.
    """
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id::text, event_id, complete FROM logs")
            rows = cursor.fetchall()
            cursor.execute("SELECT coalesce(sum(requests), 0)::bigint FROM usage_rollups")
            ((counted,),) = cursor.fetchall()
    finally:
        connection.close()
    of_event = Counter(event_id for _, event_id, _ in rows)
    endings = {(event_id, Final(log_id, complete)) for log_id, event_id, complete in rows}
    return Verdict(
        rows=len(rows),
        finals_without_row=sum(ending not in endings for ending in tally.finals.items()),
        seen_without_row=len(tally.seen - of_event.keys()),
        duplicates=len(rows) - len(of_event) + abs(counted - len(rows)),
    )

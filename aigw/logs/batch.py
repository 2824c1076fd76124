"""A batch on its way into the tables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, TypeVar

import attrs
import msgspec
import psycopg2

from aigw.logs.compression import PIECE_BYTES, compress, compressed
from aigw.logs.ledger import add_charges
from aigw.logs.names import Name, Names
from aigw.logs.position import Position
from aigw.logs.rollups import live_rows_of, rollups_of
from aigw.logs.rows import NAME_KINDS, LogRow, gateway_of, log_row, names_of
from aigw.logs.source import Entry
from aigw.logs.sql import ADD_LIVE_ROWS, ADD_ROLLUPS, ADVANCE, FIRST_POSITION, INSERT_LOGS
from aigw.values.record import End

R = TypeVar("R")

# How many rows are worked on between two turns of the reactor: about a millisecond.
ROWS_A_TURN = 100
# What compressing a small body costs, in bytes of a long one.
SMALL_BODY_BYTES = 4096


class PositionMoved(Exception):
    """The database has another position than the one that was read from: a lost acknowledgement was a success."""


class Packed(msgspec.Struct, frozen=True, gc=False):
    """
    A record with its bodies ready to be sent.

    Attributes:
        entry: See there.
        request, response: zstd frames; None when not kept.
    """

    entry: Entry
    request: bytes | None
    response: bytes | None


@attrs.frozen
class Step:
    """
    A move of a spool's position.

    Attributes:
        start: What the database must still say; None when it must say nothing.
        end: What it says afterwards.
    """

    start: Position | None
    end: Position


def pack(entries: Sequence[Entry]) -> Generator[None, None, list[Packed]]:
    """
    Compress the bodies of a batch.

    Yields:
        Whenever the reactor should have a turn.
    """
    packed, worked = [], 0
    for entry in entries:
        frames: list[bytes | None] = []
        for body in _bodies(entry.record):
            if body is None:
                frames.append(None)
                continue
            frames.append(compress(body) if len(body) <= PIECE_BYTES else (yield from compressed(body)))
            worked += len(body) + SMALL_BODY_BYTES
        if worked >= PIECE_BYTES:
            worked = 0
            yield
        packed.append(Packed(entry, *frames))
    return packed


def _bodies(record: End) -> tuple[bytes | None, bytes | None]:
    if not (record.origin.collect and record.origin.collect_payload):
        return None, None
    return record.request_body, record.response_body


async def prepare(
    entries: Sequence[Entry], names: Names, at_ease: Callable[[Generator[None, None, Any]], Awaitable[Any]]
) -> tuple[list[Packed], list[LogRow]]:
    """
    Make all that a transaction needs, before it begins.

    Args:
        entries: The records.
        names: Looked up, or added.
        at_ease: Runs work that yields, with a turn of the reactor each time it does.
    Raises:
        StorageUnavailable, psycopg2.Error: While names were looked up or added.
    """
    packed = await at_ease(pack(entries))
    records = [entry.record for entry in entries]
    wanted = await at_ease(in_turns(names_of, records))
    distinct: set[Name] = set()
    for texts in wanted:
        distinct.update(zip(NAME_KINDS, texts, strict=True))
    ids, gateways = await names.ids([name for name in distinct if name[1]], {gateway_of(record) for record in records})

    def row(record: End, texts: tuple[str, ...]) -> LogRow:
        # Empty texts have no id.
        known = list(map(ids.get, zip(NAME_KINDS, texts, strict=True)))
        return log_row(record, known, gateways[gateway_of(record)])

    return packed, await at_ease(in_turns(row, records, wanted))


def in_turns(make: Callable[..., R], *items: Sequence[Any]) -> Generator[None, None, list[R]]:
    """As `map`, over sequences of one length; yields now and then, for the reactor to have a turn."""
    made: list[R] = []
    for each in map(make, *items):
        made.append(each)
        if len(made) % ROWS_A_TURN == 0:
            yield
    return made


async def store(
    cursor: Any, spool_id: bytes, step: Step | None, packed: Sequence[Packed], rows: Sequence[LogRow]
) -> None:
    """
    Put a batch into the tables.

    Args:
        cursor: Within a transaction.
        spool_id: Of the spool that the records were written to, 16 bytes.
        step: Moves with the rows; None for records out of the quarantine, which have no place in a spool.
        packed, rows: The records and their rows, in the same order.
    Raises:
        PositionMoved: The batch was stored before, or somebody else ships this spool.
        StorageUnavailable, psycopg2.Error: As the database says.
    """
    if step is not None:
        await _advance(cursor, spool_id, step)
    made = await _insert(cursor, packed, rows)
    # Rows that were there already have been counted. An exchange that leaves no row has only the position to tell.
    both = list(zip(packed, rows, strict=True))
    new = [pair for pair in {pair[1].id: pair for pair in both}.values() if pair[1].id in made]
    counted = new + [pair for pair in both if not _kept(pair[0])]
    if counted:
        rollups = rollups_of((each.entry.record.origin.id, row) for each, row in counted)
        await cursor.execute(ADD_ROLLUPS, (msgspec.json.encode(rollups).decode(),))
        charges = (charged for each, _ in counted for charged in each.entry.record.charged)
        await add_charges(cursor, spool_id, charges)
    if new:
        live = live_rows_of(row for _, row in new)
        await cursor.execute(ADD_LIVE_ROWS, (list(live), list(live.values())))


async def _advance(cursor: Any, spool_id: bytes, step: Step) -> None:
    spool = spool_id.hex()
    if step.start is None:
        await cursor.execute(FIRST_POSITION, (spool, *step.end))
    else:
        await cursor.execute(ADVANCE, (*step.end, spool, *step.start))
    if cursor.rowcount != 1:
        raise PositionMoved


async def _insert(cursor: Any, packed: Sequence[Packed], rows: Sequence[LogRow]) -> set[str]:
    """Insert rows and bodies of the records that are kept; the ids of those that were not there before."""
    kept = []
    bodies = bytearray()
    for each, row in zip(packed, rows, strict=True):
        if _kept(each):
            row.request_from, row.request_length = _placed(bodies, each.request)
            row.response_from, row.response_length = _placed(bodies, each.response)
            kept.append(row)
    if not kept:
        return set()
    await cursor.execute(INSERT_LOGS, (msgspec.json.encode(kept).decode(), psycopg2.Binary(bodies)))
    return {row[0] for row in cursor.fetchall()}


def _placed(bodies: bytearray, frame: bytes | None) -> tuple[int | None, int | None]:
    """Add a frame to the bytes that are sent; where it begins (SQL counts from 1), and its length."""
    if frame is None:
        return None, None
    start = len(bodies) + 1
    bodies += frame
    return start, len(frame)


def _kept(packed: Packed) -> bool:
    return packed.entry.record.origin.collect


def is_about_data(error: BaseException) -> bool:
    """
    Whether the database refuses what is in the batch, rather than the batch now.

    Classes 22 (data), 23 (integrity, and ids without a partition) and 54 (limits, such as nesting). A table that is
    missing or a right that was revoked (class 42) is no record's fault: that waits for the operator.
    """
    if isinstance(error, psycopg2.Error):
        code = error.pgcode or ""
        return code[:2] in ("22", "23", "54") if code else isinstance(error, psycopg2.DataError)
    return isinstance(error, ValueError | TypeError | OverflowError | KeyError)

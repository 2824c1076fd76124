"""
Answers found by the meaning of their question: vectors in PostgreSQL, by pgvector.

A table for each number of dimensions, made when a gateway first asks for it: an installation without a semantic cache
needs no extension. Neighbours are searched exactly, among the rows that an index on the fingerprint gives: their number
is bounded for each gateway, and an approximate index looks at the fingerprint only after it has chosen its candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg2.errors

from aigw.errors import ConfigurationError
from aigw.interfaces import IDatabase
from aigw.values.cached import CachedAnswer
from aigw.values.semantic import Place

# Any number, as long as nobody else's advisory lock has it.
LOCK = 4_201_791
# The rows of a gateway are counted once in so many writes.
SWEEP_EVERY = 64
SWEPT_ROWS = 1_000

TABLE = """
    CREATE TABLE IF NOT EXISTS semantic_answers_{dimensions} (
        gateway      text NOT NULL,                  -- account and name
        fingerprint  bytea NOT NULL,                 -- SHA-256 of everything but the question
        question     bytea NOT NULL,                 -- SHA-256 of the question's text, which is kept nowhere
        embedding    vector({dimensions}) NOT NULL,  -- of the question
        answer       bytea NOT NULL,                 -- a CachedAnswer, msgpack
        stored_at    timestamptz NOT NULL,           -- when; the oldest rows leave first
        fresh_until  timestamptz NOT NULL,           -- it is found until then
        PRIMARY KEY (gateway, fingerprint, question)
    )
"""
INDEX = """
    CREATE INDEX IF NOT EXISTS semantic_answers_{dimensions}_age ON semantic_answers_{dimensions} (gateway, stored_at)
"""
NEAREST = """
    SELECT answer, embedding <=> %s::vector
    FROM semantic_answers_{dimensions}
    WHERE gateway = %s AND fingerprint = %s AND fresh_until > %s
    ORDER BY 2
    LIMIT 1
"""
INSERT = """
    INSERT INTO semantic_answers_{dimensions}
        (gateway, fingerprint, question, embedding, answer, stored_at, fresh_until)
    VALUES (%s, %s, %s, %s::vector, %s, %s, %s)
    ON CONFLICT (gateway, fingerprint, question) DO UPDATE
    SET embedding = EXCLUDED.embedding, answer = EXCLUDED.answer,
        stored_at = EXCLUDED.stored_at, fresh_until = EXCLUDED.fresh_until
"""
# Rows whose time is over, and the oldest of a gateway beyond the number that it may have; a bounded number at a time.
SWEEP = """
    DELETE FROM semantic_answers_{dimensions}
    WHERE ctid = ANY (ARRAY(
        (SELECT ctid FROM semantic_answers_{dimensions} WHERE gateway = %s AND fresh_until <= %s LIMIT %s)
        UNION ALL
        (SELECT ctid FROM semantic_answers_{dimensions} WHERE gateway = %s ORDER BY stored_at DESC OFFSET %s LIMIT %s)
    ))
"""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CachedAnswer).decode


class SemanticAnswers:
    """
    Args:
        database: With the extension `vector`, or leave to make it.
        rows: Most that a gateway keeps, but for those of the last few seconds.
    """

    def __init__(self, database: IDatabase, rows: int = 10_000) -> None:
        self._database = database
        self._rows = rows
        self._writes = 0

    async def prepare(self, dimensions: int) -> None:
        """
        Make what one size of vectors needs, unless it is there.

        Raises:
            ConfigurationError: The server has no pgvector, or this user may not install it.
            StorageUnavailable: The database did not answer.
        """

        async def make(cursor: Any) -> None:
            # Several processes may come at once, and IF NOT EXISTS alone does not make that safe.
            await cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            await cursor.execute("SELECT installed_version FROM pg_available_extensions WHERE name = 'vector'")
            found = cursor.fetchall()
            if not found:
                raise ConfigurationError(
                    ["semantic_cache: the PostgreSQL server has no extension `vector`; install pgvector on its machine"]
                )
            if found[0][0] is None:
                await cursor.execute("CREATE EXTENSION vector")
            await cursor.execute(TABLE.format(dimensions=dimensions))
            await cursor.execute(INDEX.format(dimensions=dimensions))

        try:
            await self._database.transact(make)
        except psycopg2.errors.InsufficientPrivilege:
            raise ConfigurationError(
                [
                    "semantic_cache: this database user may not set up the extension `vector` and its tables; have an"
                    " administrator run CREATE EXTENSION vector, and let the user create tables"
                ]
            ) from None

    async def nearest(self, place: Place, vector: Sequence[float], now_ms: int) -> tuple[CachedAnswer, float] | None:
        """
        The answer to the question that is nearest in meaning.

        Args:
            place: See there; `prepare` has been called for its dimensions.
            vector: Of the question.
            now_ms: UTC, milliseconds since the epoch.
        Returns:
            The answer, and the cosine distance of its question: 0 to 2.
        """
        rows = await self._database.query(
            NEAREST.format(dimensions=place.dimensions),
            (_literal(vector), place.gateway, place.fingerprint, _time(now_ms)),
        )
        return (_decode(rows[0][0]), float(rows[0][1])) if rows else None

    async def insert(self, place: Place, vector: Sequence[float], answer: CachedAnswer, until_ms: int) -> None:
        """
        Keep an answer, in place of an earlier one to the same text.

        Args:
            place, vector: As for `nearest`.
            answer: See there.
            until_ms: It is found until then; UTC, milliseconds since the epoch.
        """
        await self._database.query(
            INSERT.format(dimensions=place.dimensions),
            (
                place.gateway,
                place.fingerprint,
                place.question,
                _literal(vector),
                _encode(answer),
                _time(answer.stored_ms),
                _time(until_ms),
            ),
        )
        self._writes += 1
        if self._writes % SWEEP_EVERY == 0:
            await self.sweep(place.dimensions, place.gateway, answer.stored_ms)

    async def sweep(self, dimensions: int, gateway: str, now_ms: int) -> None:
        """Delete what is over, and what is beyond the bound of a gateway; a bounded number of rows."""
        await self._database.query(
            SWEEP.format(dimensions=dimensions), (gateway, _time(now_ms), SWEPT_ROWS, gateway, self._rows, SWEPT_ROWS)
        )


def _literal(vector: Sequence[float]) -> str:
    """A vector as pgvector reads it."""
    return f"[{','.join(map(repr, vector))}]"


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)

"""Keeps the tokens here and those in the database the same."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aigw.controls.token_file import TokenEntry
from aigw.controls.tokens import Tokens
from aigw.errors import StorageUnavailable
from aigw.interfaces import IDatabase
from aigw.values.limits import Bounds
from aigw.values.token import SCOPES, Token

_LOG = Logger()

# Other nodes listen on this channel and synchronise when told.
CHANNEL = "aigw_tokens"

_SELECT = """
    SELECT id, digest, name, scopes, account, gateway,
           round(extract(epoch FROM created_at) * 1000)::bigint,
           round(extract(epoch FROM expires_at) * 1000)::bigint,
           round(extract(epoch FROM revoked_at) * 1000)::bigint,
           coalesce(team, ''), coalesce(person, ''), bounds::text
      FROM tokens
"""

# LEAST passes over NULL, so the earlier end holds here too, and an end is never taken back.
_UPSERT = """
    INSERT INTO tokens (id, digest, name, scopes, account, gateway, created_at, expires_at, revoked_at,
                        team, person, bounds)
    SELECT id, decode(digest, 'hex'), name, scopes, account, gateway,
           to_timestamp(created_ms / 1000.0), to_timestamp(expires_ms / 1000.0), to_timestamp(revoked_ms / 1000.0),
           nullif(team, ''), nullif(person, ''), bounds
      FROM json_to_recordset(%s) AS theirs (
               id text, digest text, name text, scopes text[], account text, gateway text,
               created_ms bigint, expires_ms bigint, revoked_ms bigint,
               team text, person text, bounds jsonb)
        ON CONFLICT (id) DO UPDATE SET revoked_at = LEAST(tokens.revoked_at, EXCLUDED.revoked_at)
"""

_FORGET = "DELETE FROM tokens WHERE LEAST(expires_at, revoked_at) < to_timestamp(%s / 1000.0)"

_NOTIFY = "SELECT pg_notify(%s, '')"


async def sync(tokens: Tokens, database: IDatabase) -> None:
    """
    Make memory, disk and database agree: the union by id; of two ends the earlier.

    Raises:
        StorageUnavailable: The database cannot be reached; what was read until then is kept.
        OSError: The disk refused the new copy.
    """
    before_ms = tokens.forgotten_before_ms()
    await database.query(_FORGET, (before_ms,))
    theirs, unreadable = _read(await database.query(_SELECT))
    changed_here = tokens.adopt(theirs.values())
    ours = (entry for entry in tokens.entries() if entry.token.id not in unreadable)
    news = [entry for entry in ours if _is_news(entry, theirs.get(entry.token.id), before_ms)]
    if news:
        await database.query(_UPSERT, (json.dumps([_columns(entry) for entry in news]),))
        await database.query(_NOTIFY, (CHANNEL,))
    if changed_here:
        await tokens.save()


def _read(rows: list[tuple[Any, ...]]) -> tuple[dict[str, TokenEntry], set[str]]:
    """The tokens by id, and the ids of those that are not taken here, because nobody knows what they are held to."""
    found: dict[str, TokenEntry] = {}
    unreadable: set[str] = set()
    for row in rows:
        try:
            found[row[0]] = _entry(row)
        except msgspec.ValidationError as error:
            unreadable.add(row[0])
            _LOG.error("The bounds of {token} cannot be read: {error}", token=row[0], error=error)
    return found, unreadable


class TokenSync:
    """
    Runs `sync` whenever there is a reason to, one run at a time.

    Args:
        tokens: Of this server.
        database: Where all nodes' tokens meet.
    """

    _log = Logger()

    def __init__(self, tokens: Tokens, database: IDatabase) -> None:
        self._tokens = tokens
        self._database = database
        self._running = False
        self._again = False

    def start(self) -> None:
        """From now on, synchronise after each change here and each time the database comes into reach."""
        self._tokens.on_changed(self.run)
        self._database.when_available(self.run)

    def run(self) -> None:
        """Synchronise soon; also the call for a notification on `CHANNEL`."""
        if self._running:
            self._again = True
            return
        self._running = True
        Deferred.fromCoroutine(self._run()).addErrback(
            lambda failure: self._log.failure("Tokens could not be synchronised", failure)
        )

    async def _run(self) -> None:
        try:
            self._again = True
            while self._again:
                self._again = False
                await sync(self._tokens, self._database)
        except StorageUnavailable:
            # The tokens are safe on disk, and `when_available` will call again.
            self._log.info("Tokens will be synchronised when the database is back")
        finally:
            self._running = False


def _is_news(ours: TokenEntry, theirs: TokenEntry | None, before_ms: int) -> bool:
    """
    Whether the database is to be told. Only the end of a token ever changes, so nothing else is compared: whatever the
    database spelt otherwise would be told, and announced to all nodes, for ever.
    """
    if theirs is not None:
        return ours.token.revoked_ms != theirs.token.revoked_ms
    ended_ms = ours.token.ended_ms()
    return ended_ms is None or ended_ms >= before_ms


def _columns(entry: TokenEntry) -> dict[str, Any]:
    token = entry.token
    return {
        "id": token.id,
        "digest": entry.digest.hex(),
        "name": token.name,
        "scopes": sorted(token.scopes),
        "account": token.account,
        "gateway": token.gateway,
        "created_ms": token.created_ms,
        "expires_ms": token.expires_ms,
        "revoked_ms": token.revoked_ms,
        "team": token.team,
        "person": token.user,
        "bounds": msgspec.to_builtins(token.bounds),
    }


def _entry(row: tuple[Any, ...]) -> TokenEntry:
    """
    Raises:
        msgspec.ValidationError: The bounds are those of a newer release.
    """
    token_id, digest, name, scopes, account, gateway, created_ms, expires_ms, revoked_ms, *held = row
    # A newer release may know more scopes; what this one does not know, it does not grant.
    known = frozenset(scope for scope in SCOPES if scope in scopes)
    team, person, bounds = held
    token = Token(
        *(token_id, name, known, account, gateway, created_ms, expires_ms, revoked_ms, team, person),
        bounds=msgspec.json.decode(bounds, type=Bounds),
    )
    return TokenEntry(bytes(digest), token)

"""From the spool to PostgreSQL, in batches, each once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

import psycopg2
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.errors import StorageUnavailable
from aigw.interfaces import IDatabase
from aigw.logs.batch import PositionMoved, Step, is_about_data, prepare, store
from aigw.logs.ledger import sweep_ledger
from aigw.logs.names import Names
from aigw.logs.pace import Pace
from aigw.logs.position import Position
from aigw.logs.quarantine import Quarantine, Waiting
from aigw.logs.quota import Quota
from aigw.logs.settings import ShipperSettings
from aigw.logs.source import Chunk, Entry, Source
from aigw.logs.sql import FIND_POSITION
from aigw.logs.stats import LogStats
from aigw.logs.window import Window
from aigw.serving.patience import at_most
from aigw.values.ids import id_text

FIRST_BACKOFF_S = 0.05
# How often spend that has expired is deleted, while there is work anyway.
SWEEP_EVERY_S = 60.0

# What is read from the disk and decoded before the reactor gets a turn: one or two milliseconds.
SLICE_ROWS = 128
SLICE_BYTES = 512 * 1024


class Shipper:
    """
    Reads spools and stores their records, one batch after the other.

    Whatever happens to the database, a batch is stored once or tried again: its place in the spool is committed with
    its rows, and after any doubt the place is asked for again.

    Args:
        database: See `IDatabase`.
        clock: For pauses.
        settings: See there.
        stats: Where to count.
        quota: Told of deleted files.
        quarantine: Takes what the database refuses.
        window: Which ids have partitions.
        sweeps: Whether to remove what has expired; of several processes one is enough.
    """

    _log = Logger()

    def __init__(
        self,
        database: IDatabase,
        clock: IReactorTime,
        settings: ShipperSettings,
        stats: LogStats,
        quota: Quota,
        quarantine: Quarantine,
        window: Window,
        sweeps: bool = True,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._stats = stats
        self._quota = quota
        self._quarantine = quarantine
        self._window = window
        self._names = Names(database)
        self._sources: list[Source] = []
        self._drained: list[tuple[dict[Source, Position], Deferred[None]]] = []
        self._pace = Pace(clock)
        self._running: Deferred[None] | None = None
        self._stopping = False
        self._backoff_s = 0.0
        self._retry_at = 0.0
        self._sweep_at = 0.0 if sweeps else inf
        self._last_error = ""
        database.when_available(self._pace.hurry)

    # From outside -------------------------------------------------------------------------------------------------

    def add(self, source: Source) -> None:
        """Ship another spool: this process's own, or an adopted one, which is deleted when it is empty."""
        self._sources.append(source)
        if not source.living:
            self._quarantine.take_over(source.directory.refused)
        self._pace.hurry()

    def start(self) -> None:
        """Begin to ship."""
        self._retry_at = self._clock.seconds()
        self._running = Deferred.fromCoroutine(self._run()).addErrback(self._broken)

    def drained(self, spools: Iterable[bytes] | None = None) -> Deferred[None]:
        """
        Wait until all that is written now is in the database, or in quarantine.

        Args:
            spools: Only what is in these, by id; None for all.
        Returns:
            Fires then; there is no bound but the caller's.
        """
        done: Deferred[None] = Deferred()
        wanted = None if spools is None else set(spools)
        sources = [each for each in self._sources if wanted is None or each.directory.spool_id in wanted]
        self._drained.append(({source: source.target() for source in sources}, done))
        self._pace.hurry()
        return done

    def backlog_bytes(self) -> int:
        """What is written and not in the database at this moment; looks at the disk."""
        return sum(source.backlog_bytes() for source in self._sources)

    async def stop(self, flush_s: float) -> None:
        """
        Ship what can be shipped, and stop. The spools' writers have stopped before.

        Args:
            flush_s: How long that may take; no time at all while the database is away. What is left then waits on disk
                for the next start.
        """
        for source in self._sources:
            source.finish()
        self._stopping = True
        self._pace.hurry()
        running, self._running = self._running, None
        if running is not None:
            if not await at_most(self._clock, running, max(flush_s, 0.001)):
                running.cancel()
            running.addErrback(lambda failure: failure.trap(CancelledError))
        sources, self._sources = self._sources, []
        for source in sources:
            source.close()
            source.directory.release()

    def wake(self) -> None:
        """Something was written: ship it soon, or now if a batch is full."""
        if self._backoff_s or not self._pace.pausing:
            return
        full = any(source.is_ahead(self._settings.batch_bytes) for source in self._sources if source.living)
        self._pace.at_most(0.0 if full else self._settings.ship_every_s)

    # The loop -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                more = await self._round()
                self._backoff_s = 0.0
                self._last_error = ""
            except CancelledError:
                raise
            except Exception as error:
                more = True
                self._back_off(error)
            self._tell_drained()
            if self._stopping and not (more and self._database.available):
                return
            if self._backoff_s:
                await self._pace.pause(self._backoff_s)
            elif more:
                await self._pace.breathe()
            else:
                behind = any(source.is_ahead(1) for source in self._sources if source.living)
                await self._pace.pause(self._settings.ship_every_s if behind else self._settings.quarantine_retry_s)

    async def _round(self) -> bool:
        """One batch of each spool; whether more is waiting now."""
        more = False
        for source in list(self._sources):
            if not source.known:
                await self._learn(source)
            chunk = await self._gather(source)
            if chunk.end > source.position:
                await self._ship(source, chunk)
            if not source.living and source.position >= source.target():
                self._remove(source)
            more = more or chunk.more
        if not more and not self._stopping and self._clock.seconds() >= self._retry_at:
            await self._retry_quarantine()
            self._retry_at = self._clock.seconds() + self._settings.quarantine_retry_s
        if not more and not self._stopping and self._clock.seconds() >= self._sweep_at and self._database.available:
            self._sweep_at = self._clock.seconds() + SWEEP_EVERY_S
            while await sweep_ledger(self._database):
                await self._pace.breathe()
        return more or (self._stopping and bool(self._sources))

    async def _learn(self, source: Source) -> None:
        rows = await self._database.query(FIND_POSITION, (source.directory.spool_id.hex(),))
        source.learn(Position(*rows[0]) if rows else None)

    async def _gather(self, source: Source) -> Chunk:
        """Read a batch in slices."""
        rows, size_bytes = self._settings.batch_rows, self._settings.batch_bytes
        whole = source.read(source.position, min(SLICE_ROWS, rows), min(SLICE_BYTES, size_bytes))
        segment = whole.end.segment
        while whole.more and len(whole.entries) < rows and whole.end.offset - source.position.offset < size_bytes:
            if whole.end.segment != segment:
                break
            await self._pace.breathe()
            rest_rows = rows - len(whole.entries)
            part = source.read(whole.end, min(SLICE_ROWS, rest_rows), SLICE_BYTES)
            whole = Chunk(whole.entries + part.entries, whole.damaged + part.damaged, part.end, part.more)
        return whole

    async def _ship(self, source: Source, chunk: Chunk) -> None:
        self._keep_damaged(source, chunk)
        inside, outside = self._window.split(chunk.entries)
        self._put_aside(source, outside, Window.REASON)
        if chunk.entries:
            await self._store(source, inside, chunk.entries[-1].end)
        source.position = chunk.end
        source.aside.clear()
        freed = source.delete_read()
        if freed:
            self._quota.give_back(freed)

    async def _store(self, source: Source, entries: Sequence[Entry], end: Position) -> None:
        """Store a batch; where the database refuses what is in it, find the record and put it aside."""
        try:
            await self._transact(source, entries, end)
        except Exception as error:
            if not (entries and is_about_data(error)):
                # Committed or not: nobody knows, so the database will be asked.
                source.forget()
                raise
            self._window.forget()
            if len(entries) == 1:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                self._put_aside(source, entries, reason)
                await self._store(source, [], end)
                return
            middle = len(entries) // 2
            await self._store(source, entries[:middle], entries[middle - 1].end)
            await self._store(source, entries[middle:], end)

    async def _transact(self, source: Source, entries: Sequence[Entry], end: Position) -> None:
        await self._window.open(self._database, entries)
        packed, rows = await prepare(entries, self._names, self._pace.at_ease)
        step = Step(source.committed, end)
        spool_id = source.directory.spool_id
        await self._database.transact(lambda cursor: store(cursor, spool_id, step, packed, rows))
        source.committed = end
        self._stats.shipped += len(entries)

    # Quarantine ---------------------------------------------------------------------------------------------------

    def _put_aside(self, source: Source, entries: Sequence[Entry], reason: str) -> None:
        """Put records into the quarantine; once, however often the batch around them is tried."""
        fresh = [entry for entry in entries if entry.end not in source.aside]
        if not fresh:
            return
        self._quarantine.put(fresh, reason)
        source.aside.update(entry.end for entry in fresh)
        self._log.error(
            "{count} logs are in quarantine, the first is {log_id}: {reason}",
            count=len(fresh),
            log_id=id_text(fresh[0].record.origin.id),
            reason=reason,
        )

    def _keep_damaged(self, source: Source, chunk: Chunk) -> None:
        for damage in chunk.damaged:
            if damage.end in source.aside:
                continue
            self._quarantine.put_damaged(damage.data, "damaged in the spool")
            source.aside.add(damage.end)
            self._log.error(
                "{path} held {count} bytes that are no record; they are kept in quarantine",
                path=str(source.directory.path),
                count=len(damage.data),
            )

    async def _retry_quarantine(self) -> None:
        """Try what was refused once more, record by record."""
        for number in self._quarantine.files():
            waiting = list(self._quarantine.read(number))
            rest = [each for each in waiting if not await self._stored_alone(each)]
            if len(rest) < len(waiting):
                self._quarantine.replace(number, rest, released=len(waiting) - len(rest))

    async def _stored_alone(self, waiting: Waiting) -> bool:
        inside, _ = self._window.split([waiting.entry])
        if not inside:
            return False
        try:
            await self._window.open(self._database, inside)
            packed, rows = await prepare(inside, self._names, self._pace.at_ease)
            await self._database.transact(lambda cursor: store(cursor, waiting.spool_id, None, packed, rows))
        except Exception as error:
            if is_about_data(error):
                return False
            raise
        self._stats.shipped += 1
        return True

    # Ends and pauses ----------------------------------------------------------------------------------------------

    def _remove(self, source: Source) -> None:
        """Delete a spool that is shipped to its end. Its row in `ship_positions` stays: a copy of it must not count."""
        source.close()
        self._sources.remove(source)
        if source.keep():
            source.directory.release()
            return
        freed = source.directory.bytes_used()
        source.directory.remove_all()
        self._quota.give_back(freed)

    def _tell_drained(self) -> None:
        waiting, self._drained = self._drained, []
        for targets, done in waiting:
            if done.called:
                continue
            if all(s not in self._sources or (s.known and s.position >= target) for s, target in targets.items()):
                done.callback(None)
            else:
                self._drained.append((targets, done))

    def _back_off(self, error: Exception) -> None:
        self._stats.ship_failures += 1
        self._backoff_s = min(max(FIRST_BACKOFF_S, self._backoff_s * 2), self._settings.backoff_s)
        text = f"{type(error).__name__}: {error}"
        if text == self._last_error:
            return
        self._last_error = text
        if isinstance(error, StorageUnavailable):
            # The database itself has told that it is away, or is only being started.
            return
        if isinstance(error, PositionMoved):
            self._log.info("Logs wait in the spool: {reason}", reason=text)
        elif isinstance(error, psycopg2.Error | OSError):
            self._log.error("Logs wait in the spool: {reason}", reason=text)
        else:
            self._log.failure("Logs wait in the spool")

    def _broken(self, failure: Failure) -> None:
        if failure.check(CancelledError) and self._stopping:
            self._log.info("Not all logs were shipped; the rest waits in the spool for the next start")
        else:
            self._log.failure("The shipper stopped", failure)

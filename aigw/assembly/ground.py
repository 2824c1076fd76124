"""What all else in a process stands on."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from aigw.assembly.database import open_database
from aigw.assembly.steps import Steps, utc_ms
from aigw.codecs.gateway_document import read_stored
from aigw.controls.master_key import ensure_master_key
from aigw.controls.policy_rulings import PolicyRulings, read_rulings
from aigw.controls.teams import KIND, Teams, read_team
from aigw.controls.token_file import TokenEntry, TokenFile
from aigw.controls.token_sync import CHANNEL, TokenSync
from aigw.controls.tokens import Tokens
from aigw.dispatch.gateways import Gateways
from aigw.logs.service import LogService
from aigw.management.control_socket import AlreadyRunning
from aigw.serving.turn import Turn
from aigw.serving.wheel import Wheel
from aigw.settings import Settings
from aigw.state.stores import State, open_state
from aigw.storage.document_file import DocumentFile
from aigw.storage.documents import Documents, Read
from aigw.storage.dsn import Dsn
from aigw.storage.late import LateDatabase
from aigw.storage.partitions import ensure_partitions
from aigw.values.team import Team
from aigw.workers.copies import ReadOnlyDocuments, ToldTokens

T = TypeVar("T")


@attrs.frozen
class Ground:
    """
    Attributes:
        reactor: Runs everything.
        settings: Of the process.
        steps: Gets what has to be stopped.
        wheel, turn: Timers and the ends of turns, for all.
        database: May still be out of reach.
        logs: Open, and shipping.
        state: Counters and cached answers.
        tokens, gateways, teams: In memory.
        policies, team_documents: As they are stored.
    """

    reactor: Any
    settings: Settings
    steps: Steps
    wheel: Wheel
    turn: Turn
    database: LateDatabase
    logs: LogService
    state: State
    tokens: Tokens
    gateways: Gateways
    policies: Documents[PolicyRulings]
    team_documents: Documents[Team]
    teams: Teams


def hold_folder(folder: Path) -> int:
    """
    Make the data folder, and keep every other gateway away from it.

    Returns:
        The descriptor of its lock, which holds until it is closed.
    Raises:
        AlreadyRunning: Another gateway was first.
        OSError: The folder cannot be used.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The kernel lets go of the lock when the process is gone, however it went.
    lock = os.open(folder / "gateway.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyRunning(f"A gateway is running on {folder} already") from None
    ensure_master_key(folder)
    return lock


def open_ground(
    reactor: Any,
    settings: Settings,
    steps: Steps,
    give_up: Callable[[Failure], None],
    started: Callable[[Dsn], None] = lambda _: None,
    told: Sequence[TokenEntry] | None = None,
) -> Ground:
    """
    Open everything that is kept. The database need not be there.

    One process of a data folder leads: it writes the copies on disk, runs the embedded database, adopts the spools of
    dead processes, and removes what has expired.

    Args:
        reactor, settings, steps: See `Ground`.
        give_up: Called with the reason when waiting for the database will not help.
        started: Called when the embedded database takes connections.
        told: The tokens; given to a process that does not lead.
    Raises:
        AigwError, OSError: What is on disk cannot be used.
    """
    leads = told is None
    turn = Turn(reactor)
    logs = LogService(
        *(reactor, settings.data_path() / "spool", settings.spool, settings.shipper), turn=turn, leads=leads
    )
    # The logs are closed before the database: closing them ships what is left.
    database = open_database(reactor, settings, steps, give_up, started if leads else None)
    logs.open()
    steps.add(logs.close)
    logs.ship_to(database, ensure_partitions)
    state = open_state(settings.state, reactor, database, utc_ms, sweeps=leads)
    state.start()
    steps.add(state.stop)
    tokens = _open_tokens(settings, database, told)
    documents = _Opening(reactor, settings, steps, database, DocumentFile if leads else ReadOnlyDocuments)
    gateways = Gateways(settings.gateway, documents.open("gateway", read_stored))
    policies = documents.open("policies", read_rulings)
    team_documents = documents.open(KIND, read_team)
    return Ground(
        *(reactor, settings, steps, Wheel(reactor), turn, database, logs, state, tokens, gateways, policies),
        *(team_documents, Teams(team_documents)),
    )


def _open_tokens(settings: Settings, database: LateDatabase, told: Sequence[TokenEntry] | None) -> Tokens:
    path = settings.data_path() / "tokens.json"
    tokens = Tokens(TokenFile(path, deferToThread) if told is None else ToldTokens(told), utc_ms)
    sync = TokenSync(tokens, database)
    sync.start()
    database.listen(CHANNEL, lambda _: sync.run())
    return tokens


@attrs.frozen
class _Opening:
    """Opens documents, one kind like the other."""

    reactor: Any
    settings: Settings
    steps: Steps
    database: LateDatabase
    file: type[DocumentFile]

    def open(self, kind: str, read: Read[T]) -> Documents[T]:
        file = self.file(self.settings.data_path() / f"{kind}.json", deferToThread)
        documents = Documents(kind, self.database, file, read, self.reactor)
        documents.start()
        self.steps.add_plain(documents.stop)
        return documents

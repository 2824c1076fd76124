"""What an operator sets about PostgreSQL: the connections to it, and the one that the gateway brings itself."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
PositiveSeconds = Annotated[float, Meta(gt=0)]


class DatabaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The pool of connections to the database, wherever it runs.

    Attributes:
        connections: Connections that are kept open; one more hears what other gateways change.
        connect_s: Seconds for a connection to be made.
        statement_s: Seconds after which the server gives a statement up.
        answer_s: Seconds after which a silent server is given up, and a caller that waits for a free connection is told
            so. Longer than `statement_s`, so that a slow statement does not cost its connection.
        waiting: Callers that may wait for a free connection; the next is turned away at once.
    """

    connections: Annotated[int, Meta(ge=1, le=1_000)] = 4
    connect_s: PositiveSeconds = 5.0
    statement_s: PositiveSeconds = 20.0
    answer_s: PositiveSeconds = 25.0
    waiting: Count = 1_000


class EmbeddedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The PostgreSQL that the gateway brings and runs itself, where `database` names none.

    Attributes:
        bindir: Folder of PostgreSQL's programs; empty looks in the gateway's own environment, in PATH and in
            /usr/lib/postgresql.
        start_s: Seconds for a start, recovery after a crash included; then it is tried again.
        stop_s: Seconds for a fast shutdown before an immediate one.
        shared_buffers_mb: PostgreSQL's own cache, in MiB.
        connections: Connections that the server takes: those of the gateway, and yours.
        elsewhere: Folder for database and programs where root starts the gateway and the database's unprivileged user
            cannot reach the data folder.
        sync: `false` waits for no disk: a loss of power then destroys the database. For tests.
    """

    bindir: Annotated[str, Meta(pattern="^(/|$)")] = ""
    start_s: PositiveSeconds = 60.0
    stop_s: PositiveSeconds = 10.0
    shared_buffers_mb: Annotated[int, Meta(ge=1, le=1_048_576)] = 64
    connections: Annotated[int, Meta(ge=10, le=10_000)] = 40
    elsewhere: Annotated[str, Meta(pattern="^/")] = "/var/lib/aigw"
    sync: bool = True

"""As whom PostgreSQL runs: never as root, and never as a user who would have to be made."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import attrs

from aigw.errors import PostgresNotStarted

# The system's own PostgreSQL user, where there is one; else the user that owns nothing.
UNPRIVILEGED = ("postgres", "nobody")


@attrs.frozen
class PostgresUser:
    """
    The user of the database's processes and files.

    Attributes:
        name, uid, gid, groups: As in the system's user database.
        switched: True when it is another than our own, so that files have to be handed over.
    """

    name: str
    uid: int
    gid: int
    groups: frozenset[int]
    switched: bool

    def may_enter(self, folder: Path) -> bool:
        """Whether the user may pass through every part of an existing path (by mode bits, as root sees them)."""
        path = folder.resolve()
        return all(self._may_pass(each.stat()) for each in [*path.parents, path])

    def _may_pass(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid in self.groups:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def choose_user(owner: int | None) -> PostgresUser:
    """
    Decide as whom to run.

    Args:
        owner: Uid of existing database files, None when there are none.
    Raises:
        PostgresNotStarted: PostgreSQL would refuse our uid, or the files are another user's.
    """
    ours = os.geteuid()
    if ours != 0:
        if owner not in (None, ours):
            raise PostgresNotStarted(f"The database's files belong to {_name_of(owner)}: start as that user or as root")
        return _user(ours, switched=False)
    if owner:
        return _user(owner, switched=True)
    for name in UNPRIVILEGED:
        try:
            return _user(pwd.getpwnam(name).pw_uid, switched=True)
        except KeyError:
            continue
    raise PostgresNotStarted(
        "PostgreSQL refuses to run as root, and there is neither a user postgres nor a user nobody:"
        " start as an ordinary user, or name a database with --database"
    )


def _user(uid: int, switched: bool) -> PostgresUser:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise PostgresNotStarted(
            f"User id {uid} has no entry in the system's user database, so PostgreSQL will not run under it:"
            " add one to /etc/passwd, or name a database with --database"
        ) from None
    groups = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return PostgresUser(entry.pw_name, uid, entry.pw_gid, groups, switched)


def _name_of(uid: int | None) -> str:
    try:
        return pwd.getpwuid(uid or 0).pw_name
    except KeyError:
        return f"user id {uid}"

"""Where the embedded PostgreSQL keeps its files, and how its unprivileged user reaches them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from pathlib import Path

import attrs

from aigw.errors import PostgresNotStarted
from aigw.storage.postgres_binaries import PostgresBinaries
from aigw.storage.postgres_user import PostgresUser, choose_user

# A socket's path must fit into 107 bytes, its own name included.
SOCKET_FOLDER_BYTES = 107 - len("/.s.PGSQL.65535.lock")


@attrs.frozen
class PostgresHome:
    """
    Files of one embedded PostgreSQL.

    Attributes:
        user: Who owns them.
        root: Our folder for it, mode 0700.
        cluster: What PostgreSQL calls its data directory; does not exist before the first start.
        sockets: Folder of the listening socket, mode 0700.
        relocated: True when `root` had to be put outside the gateway's own data folder.
    """

    user: PostgresUser
    root: Path
    cluster: Path
    sockets: Path
    relocated: bool

    @property
    def major(self) -> int | None:
        """Major version of the data, None when there are none yet."""
        try:
            return int((self.cluster / "PG_VERSION").read_text())
        except FileNotFoundError:
            return None


def prepare_home(data_dir: Path, elsewhere: Path) -> PostgresHome:
    """
    Find or make the folders.

    Args:
        data_dir: The gateway's data folder; made when missing.
        elsewhere: Takes the database when its user cannot reach `data_dir`; only ever used by root.
    Raises:
        PostgresNotStarted: Somebody else owns what we need.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir = data_dir.resolve()
    # Written once and followed from then on, so that moving the data folder does not lose the database.
    pointer = data_dir / "postgres.location"
    root = Path(pointer.read_text().strip()) if pointer.exists() else data_dir / "postgres"
    user = choose_user(root.stat().st_uid if root.exists() else None)
    if user.switched and root.parent == data_dir and not user.may_enter(data_dir):
        if (root / "data").exists():
            raise PostgresNotStarted(f"{user.name}, who owns the database in {root}, may not enter {data_dir}")
        # Never one that is there: it belonged to a data folder of this name that was deleted, and a first start that
        # shows the logs of an earlier life would surprise its owner.
        root = make_system_folder(elsewhere) / secrets.token_hex(8)
        pointer.write_text(f"{root}\n")
    make_private(root, user)
    return PostgresHome(user, root, root / "data", _socket_folder(root, user), root.parent != data_dir)


def lock(home: PostgresHome) -> int:
    """
    Take the home for this process.

    Returns:
        A file descriptor; closing it, or the end of the process however it comes, gives the home free.
    Raises:
        PostgresNotStarted: Another living process has it.
    """
    descriptor = os.open(home.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise PostgresNotStarted(f"Another aigw is running with the database in {home.root}") from None
    return descriptor


def make_private(folder: Path, user: PostgresUser) -> None:
    """
    Make a folder of mode 0700 that belongs to the user, or check that it is one.

    Raises:
        PostgresNotStarted: It is another's, or a link: then it could be swapped under us.
    """
    try:
        folder.mkdir(mode=0o700)
        if user.switched:
            os.chown(folder, user.uid, user.gid, follow_symlinks=False)
    except FileExistsError:
        pass
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != user.uid or status.st_mode & 0o077:
        raise PostgresNotStarted(f"{folder} must be a folder of {user.name} with mode 0700")


def make_system_folder(folder: Path) -> Path:
    """
    Make root's folder for databases and programs that ordinary users must be able to pass through.

    Raises:
        PostgresNotStarted: Somebody else may write to it.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o022:
        raise PostgresNotStarted(f"{folder} must be a folder that only root can write to")
    return folder


def copy_binaries(binaries: PostgresBinaries, elsewhere: Path) -> PostgresBinaries:
    """
    Put the programs where their user can run them; done once for each version. Blocks while it copies 40 MB.

    Returns:
        The copy.
    """
    prefix = binaries.bindir.parent
    copy = make_system_folder(elsewhere) / f"postgresql-{binaries.version}"
    # The wheel's programs look for their libraries in `../../../<package>.libs`, so the copy keeps that shape.
    package = prefix.parent.name
    moved = attrs.evolve(binaries, bindir=copy / package / prefix.name / binaries.bindir.name)
    if moved.bindir.exists():
        return moved
    unfinished = elsewhere / f".{copy.name}-{secrets.token_hex(4)}"
    for part in (binaries.bindir.name, "lib", "share"):
        shutil.copytree(prefix / part, unfinished / package / prefix.name / part, symlinks=True)
    libraries = prefix.parent.parent / f"{package}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
    for each in [unfinished, *unfinished.rglob("*")]:
        if not each.is_symlink():
            each.chmod(0o755 if each.is_dir() or each.stat().st_mode & 0o100 else 0o644)
    if copy.exists():
        shutil.rmtree(copy)
    unfinished.rename(copy)
    return moved


def _socket_folder(root: Path, user: PostgresUser) -> Path:
    if len(os.fsencode(root)) <= SOCKET_FOLDER_BYTES:
        return root
    name = f"aigw-{user.uid}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    fits = bool(runtime) and len(os.fsencode(runtime)) + 1 + len(name) <= SOCKET_FOLDER_BYTES
    own = fits and Path(runtime).is_dir() and not user.switched
    folder = Path(runtime if own else "/tmp") / name  # noqa: S108 - make_private refuses a folder laid by another
    make_private(folder, user)
    return folder

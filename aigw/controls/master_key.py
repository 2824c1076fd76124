"""The key that seals the providers' keys: made once, kept outside the database."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from aigw.errors import ConfigurationError

FILE_NAME = "master.key"
KEY_BYTES = 32


def ensure_master_key(data_dir: Path, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """
    The master key, made at the first start.

    Args:
        data_dir: The gateway's own folder.
        random: Returns so many unpredictable bytes.
    Returns:
        32 bytes.
    Raises:
        ConfigurationError: There is a key that cannot be used. A new one is never put in its place: everything that
            was sealed with the old one would be lost.
    """
    path = data_dir / FILE_NAME
    if not path.exists():
        _create(path, random(KEY_BYTES))
    problem = master_key_problem(data_dir)
    if problem:
        raise ConfigurationError([problem])
    return path.read_bytes()


def master_key_problem(data_dir: Path) -> str:
    """What is wrong with the key on disk, as a sentence for the operator; empty when nothing is."""
    path = data_dir / FILE_NAME
    try:
        status = path.stat()
        length = len(path.read_bytes())
    except OSError as error:
        return f"{path}: the master key cannot be read ({error.strerror})"
    if length != KEY_BYTES:
        return f"{path}: the master key has {length} bytes, not {KEY_BYTES}; restore it from your backup"
    if stat.S_IMODE(status.st_mode) & 0o077:
        return f"{path}: other users may read the master key; run: chmod 600 {path}"
    return ""


def _create(path: Path, key: bytes) -> None:
    """Write the key beside its place and link it there: never half a key, never over one that is there."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(beside, path)
        except FileExistsError:
            pass  # Another process of the same start was first; both go on with its key.
    finally:
        os.unlink(beside)

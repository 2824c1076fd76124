"""The copy of the tokens on disk, so that a start survives an outage of the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from aigw.errors import ConfigurationError
from aigw.serving.whole_file import RunInThread, WholeFile
from aigw.values.token import Token


class TokenEntry(msgspec.Struct, frozen=True):
    """
    A token as it is stored.

    Attributes:
        digest: SHA-256 of its text.
        token: What its owner may see of it.
    """

    digest: bytes
    token: Token


class _Content(msgspec.Struct, frozen=True):
    version: int
    tokens: tuple[TokenEntry, ...]


class TokenFile:
    """
    A file with all tokens, mode 0600, replaced as a whole.

    Args:
        path: Of the file; its folder exists.
        run_in_thread: Runs a call away from the reactor: flushing to disk may take long.
    """

    def __init__(self, path: Path, run_in_thread: RunInThread) -> None:
        self._path = path
        self._file = WholeFile(path, run_in_thread)

    def read(self) -> tuple[TokenEntry, ...]:
        """
        What the file holds; nothing when there is no file yet. Blocks, so it is for the start.

        Raises:
            ConfigurationError: The file cannot be read. Starting without it would bring revoked tokens back to life.
        """
        try:
            content = msgspec.json.decode(self._path.read_bytes(), type=_Content)
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            problem = f"{self._path}: the tokens cannot be read ({error}); restore the file, or move it away to go on"
            raise ConfigurationError([f"{problem} with what the database holds"]) from error
        return content.tokens

    async def write(self, current: Callable[[], Sequence[TokenEntry]]) -> None:
        """
        Replace the file and flush it to the disk.

        Args:
            current: Gives the tokens to write, called when it is this write's turn.
        Raises:
            OSError: The disk refused; the earlier file is untouched.
        """

        def content() -> bytes:
            return msgspec.json.format(msgspec.json.encode(_Content(version=1, tokens=tuple(current()))), indent=1)

        await self._file.write(content)

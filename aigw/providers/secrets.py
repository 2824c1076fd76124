"""Secrets that an operator keeps elsewhere than in the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# No key of any vendor comes near it.
SECRET_CHARS = 65_536


def read_secret(text: str, environ: Mapping[str, str]) -> str:
    """
    What a setting stands for: `file:PATH` and `env:NAME` are looked up, anything else is the value itself.

    Args:
        text: As in the configuration.
        environ: The process's environment.
    Returns:
        Without white space around it.
    Raises:
        ValueError: There is no such file or variable, or nothing in it. The text holds no secret.
    """
    kind, _, name = text.partition(":")
    if kind == "env":
        value = environ.get(name, "").strip()
        if not value:
            raise ValueError(f"the variable {name} is not set")
    elif kind == "file":
        try:
            with Path(name).open(encoding="utf-8") as file:
                value = file.read(SECRET_CHARS).strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ValueError(f"the file {name} cannot be read: {reason}") from None
        if not value:
            raise ValueError(f"the file {name} is empty")
    else:
        value = text.strip()
    return value

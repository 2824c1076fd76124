"""A named declaration of an owner, as every process holds it in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen
class Stored(Generic[T]):
    """
    Attributes:
        account, name: Together its name.
        document: As it was written: what JSON can hold.
        value: The same, read. The same object for as long as the document is unchanged.
        version: Greater after each write, never used twice.
        created_ms, modified_ms: First and last write; UTC, milliseconds since the epoch.
    """

    account: str
    name: str
    document: Mapping[str, Any]
    value: T
    version: int
    created_ms: int
    modified_ms: int

"""Where a question belongs that may be answered like another one."""

from __future__ import annotations

import attrs


@attrs.frozen
class Place:
    """
    Attributes:
        dimensions: Of the question's vector.
        gateway: Account and name.
        fingerprint: 32 bytes: only questions with the same one are compared.
        question: 32 bytes: the text.
    """

    dimensions: int
    gateway: str
    fingerprint: bytes
    question: bytes

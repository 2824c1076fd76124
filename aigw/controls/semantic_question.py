"""What is asked in a chat request, apart from everything else that its answer depends on."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from hashlib import _Hash

# Embeddings of longer texts say little of their details, and most models take no more.
TEXT_CHARS = 8_192
BODY_BYTES = 262_144

# Kinds of requests that may be answered alike when they mean the same. A vector or a picture may not.
ANSWERABLE = ("chat", "text")

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode
_TEXT_TYPES = (None, "text", "input_text")


class Question(msgspec.Struct, frozen=True, gc=False):
    """
    Attributes:
        text: Of the last thing that the user said.
        digest: SHA-256 of the text.
        fingerprint: SHA-256 of everything else: two questions are compared only where it is the same.
    """

    text: str
    digest: bytes
    fingerprint: bytes


def read_question(body: bytes, beginning: _Hash) -> Question | None:
    """
    Take a question out of a request.

    Args:
        body: JSON in the dialect of any vendor's chat.
        beginning: Digest of what the body does not tell: gateway, address, credential, the embeddings' model. It is
            used up.
    Returns:
        None when the request does not end with a user's text, or that is too long to be compared.
    """
    if len(body) > BODY_BYTES:
        return None
    try:
        request = _decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    if not isinstance(request, dict):
        return None
    text = _take_text(request).strip()
    if not text or len(text) > TEXT_CHARS:
        return None
    beginning.update(b"semantic")
    beginning.update(_encode(request))
    try:
        return Question(text, sha256(text.encode()).digest(), beginning.digest())
    except UnicodeEncodeError:
        # A lone surrogate; nobody would take it.
        return None


def _take_text(request: dict[str, Any]) -> str:
    """The user's text, which leaves a gap in the request; empty when there is none."""
    for key in ("messages", "input", "contents"):
        turns = request.get(key)
        if isinstance(turns, list):
            return _take_turn(turns[-1]) if turns else ""
    # The dialects of Responses, of Cohere's first API, and of completions.
    for key in ("input", "message", "prompt"):
        if isinstance(request.get(key), str):
            return _taken(request, key)
    return ""


def _take_turn(turn: Any) -> str:
    """The text of the last turn; the answer to a tool's result hangs on what was said before."""
    if not isinstance(turn, dict) or turn.get("role", "user") not in ("user", "USER"):
        return ""
    for key in ("content", "parts"):
        said = turn.get(key)
        if isinstance(said, str):
            return _taken(turn, key)
        if isinstance(said, list):
            # Pictures and the like stay where they are: only questions about the same ones are compared.
            return "\n".join([_taken(part, "text") for part in said if _is_text(part)])
    return ""


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str) and part.get("type") in _TEXT_TYPES


def _taken(holder: dict[str, Any], key: str) -> str:
    text: str = holder[key]
    holder[key] = None
    return text

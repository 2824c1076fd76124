"""Whose budget a request is charged to: the name of a policy's bucket."""

from __future__ import annotations

import re

import attrs

from aigw.controls.policy_condition import Facts
from aigw.errors import AigwError

_FIELD = re.compile(r"\{([^{}]*)\}")
_PATH = re.compile(r"(?:cf\.country|cf\.(?:user|custom)\.[^\s.]+(?:\.[^\s.]+)*|metadata\.\S+)\Z")


class ActorError(AigwError):
    """An actor that names no bucket; the text says why."""


@attrs.frozen
class Actor:
    """
    The name of a bucket, perhaps one for each value of some fields.

    Attributes:
        parts: Text and paths of fields by turns, beginning and ending with text.
    """

    parts: tuple[str, ...]

    def resolve(self, facts: Facts) -> str | None:
        """The bucket's name for a request; None when one of the fields has no value, or none that names one thing."""
        texts = [self.parts[0]]
        for path, text in zip(self.parts[1::2], self.parts[2::2], strict=True):
            value = facts.value(path)
            if isinstance(value, bool):
                value = "true" if value else "false"
            if not isinstance(value, (str, int, float)) or value == "":
                return None
            texts += (str(value), text)
        return "".join(texts)


def compile_actor(text: str) -> Actor:
    """
    Read the name of a bucket.

    Raises:
        ActorError: See there.
    """
    parts = _FIELD.split(text)
    if any("{" in between or "}" in between for between in parts[::2]):
        raise ActorError("a brace without its other half")
    for path in parts[1::2]:
        if not _PATH.match(path):
            known = "cf.user.<claim>, cf.custom.<claim>, cf.country and metadata.<key>"
            raise ActorError(f"`{path}` is no field; there are {known}")
    return Actor(tuple(parts))

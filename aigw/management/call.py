"""A call of the internal API, and how it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import attrs
import msgspec

from aigw.codecs.settings_check import problems_of
from aigw.errors import AigwError

T = TypeVar("T")


class Refused(AigwError):
    """
    A call that is not carried out.

    Args:
        status: HTTP status.
        code: Word for programs.
        message: Sentence for people; holds no secret.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@attrs.frozen
class Call:
    """
    What was asked.

    Attributes:
        name: The last segment of the address where it names one thing, else empty.
        query: Of the address.
        body: Of the request.
    """

    name: str = ""
    query: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""

    def read(self, form: type[T]) -> T:
        """
        The body, in the form that the call takes.

        Raises:
            Refused: The body has another form; the sentence names each field by its path.
        """
        try:
            tree = msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise Refused(400, "malformed", f"The body cannot be read: {error}") from error
        try:
            return msgspec.convert(tree, form)
        except msgspec.ValidationError as error:
            raise Refused(400, "malformed", "; ".join(problems_of(tree, form)) or str(error)) from error

    def number(self, key: str, default: int, lowest: int, highest: int) -> int:
        """
        A whole number out of the query.

        Raises:
            Refused: It is none, or out of bounds.
        """
        text = self.query.get(key, str(default))
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not lowest <= int(text) <= highest:
            raise Refused(400, "malformed", f"`{key}` is a whole number from {lowest} to {highest}")
        return int(text)

"""What comes back when the gateway itself asks somebody something: a token endpoint, a price list, a bucket."""

from __future__ import annotations

import attrs

from aigw.values.step import Headers


@attrs.frozen
class OutboundAnswer:
    """
    A whole answer.

    Attributes:
        status: HTTP status.
        headers: As received, names in lower case.
        body: Every byte; may hold secrets.
    """

    status: int
    headers: Headers
    body: bytes = attrs.field(repr=False)

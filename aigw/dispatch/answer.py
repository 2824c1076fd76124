"""What a client is told of its answer, whatever the wire words it like."""

from __future__ import annotations

import msgspec

from aigw.errors import GatewayError
from aigw.values.step import Headers


class AnswerHead(msgspec.Struct, frozen=True, gc=False):
    """
    Attributes:
        log_id: Of the exchange, in its usual spelling.
        step: Index of the step that answers.
        status: HTTP status of the provider's answer.
        content_type: Of the provider's answer, empty when it named none.
        headers: The provider's, names in lower case.
        streaming: Whether the answer is an event stream.
        cache_status: `HIT`, `MISS`, `SEMANTIC` or `STALE`.
        own: Headers of the gateway itself beside those that every answer has, such as `cf-aig-locked`.
    """

    log_id: str
    step: int
    status: int
    content_type: str
    headers: Headers
    streaming: bool
    cache_status: str = "MISS"
    own: Headers = ()


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """
    How an exchange ended.

    Attributes:
        log_id: Of the exchange, in its usual spelling.
        step: Index of the step that answered or failed last.
        error: None when the provider's answer is complete, whatever its status.
        head: None when no answer began.
        body: The whole answer, for a reply that wants it whole, else empty.
        tail: Bytes of a stream from its end mark on, for a reply that holds the end back.
        whole: Whether the provider's answer came to its end; a stream may have ended by saying that it failed.
        own: As in the head, for an answer that is the gateway's own error.
    """

    log_id: str
    step: int
    error: GatewayError | None
    head: AnswerHead | None
    body: bytes = b""
    tail: bytes = b""
    whole: bool = False
    own: Headers = ()

"""One thing to try: a provider, its endpoint, headers and body."""

from __future__ import annotations

import attrs
import msgspec
from twisted.web.iweb import IBodyProducer

Headers = tuple[tuple[bytes, bytes], ...]


@attrs.frozen
class Clocks:
    """
    How long a provider may take. A clock of 0 is off.

    Attributes:
        connect_s: From the call to an open (and verified) connection.
        first_byte_s: From the sent request to the answer's head.
        idle_s: Between two pieces of the answer; stands still while the gateway itself pauses the provider. Also how
            long a provider may take nothing of a body that is streamed to it.
        total_s: From the call to the answer's end; does not stand still.
    """

    connect_s: float = 10.0
    first_byte_s: float = 300.0
    idle_s: float = 120.0
    total_s: float = 3600.0


class Ask(msgspec.Struct, frozen=True, gc=False):
    """
    What a request tells of the answer that it wants.

    Attributes:
        model: As named in the path or the body, empty when neither names one.
        stream: Whether the body asks for a stream.
        output_tokens: The most that the body allows for one answer; 0 when it does not say.
        answers: How many answers the body wants.
        sure: Whether `model` is what the provider will take. False where that cannot be told: a body that passes unread
            or is no JSON, one that names none, and one that names several.
    """

    model: str = ""
    stream: bool = False
    output_tokens: int = 0
    answers: int = 1
    sure: bool = True


class Step(msgspec.Struct, frozen=True, gc=False):
    """
    Attributes:
        provider: Slug, as the client wrote it.
        endpoint: Path below the provider, perhaps with a query string, as the client wrote it.
        headers: For the provider, `cf-aig-*` already taken out; names in lower case.
        query: The body: JSON, byte for byte as the client wrote it; or what produces a body too large to be held.
        settings: The `cf-aig-*` headers of the step over those of the request, but for the locked ones; names in
            lower case.
        method: Upper case.
        locked: Names of the headers that were ignored because the owner has locked them, sorted.
    """

    provider: str
    endpoint: str
    headers: Headers
    query: bytes | IBodyProducer
    settings: dict[bytes, bytes] = {}
    method: bytes = b"POST"
    locked: tuple[str, ...] = ()


class UpstreamRequest(msgspec.Struct, frozen=True, gc=False):
    """
    One HTTP request to a provider, ready to be sent.

    Attributes:
        method: Upper case.
        url: Absolute, percent-encoded; `https://`, `http://` or `sandbox://`.
        headers: Complete but for Host and Content-Length; names in lower case; the values hold credentials.
        body: As it goes on the wire; or what produces it while it is sent, in pieces that are small. Such a request is
            sent once at most. Its producer is told every change once; `stopProducing` also when it was never started.
        clocks: See `Clocks`.
        trusted: Whether the address is the operator's own word, so that it may be a private one.
    """

    method: bytes
    url: bytes
    headers: Headers
    body: bytes | IBodyProducer
    clocks: Clocks
    trusted: bool = False

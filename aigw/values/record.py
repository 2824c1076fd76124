"""
What the log keeps of an exchange.

`Begin` goes to the spool before a provider is asked, `End` when the exchange is over. Only `End` becomes a row, so it
repeats what `Begin` said; `Begin` alone is enough to write the row of an exchange whose process died.
"""

from __future__ import annotations

import msgspec

from aigw.values.counting import Charged
from aigw.values.usage import Usage

# Texts of a record that a client may choose are cut to this many characters: a narrow row stays narrow.
TEXT_CHARS = 256

# Records are trees of values and never point back at themselves: the collector, which would otherwise walk every one of
# a batch again and again, is told to leave them alone (`gc=False`).


class Origin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """
    What is known of an exchange when it opens.

    Attributes:
        id: UUIDv7, 16 bytes; its time is the row's `created_at`.
        account, gateway: Names, as in the address.
        request_type: `websocket`, `universal`, `native`, `unified` or `realtime`.
        event_id: The client's correlation id, empty when it gave none.
        token: Public id of the token that called, empty on an open gateway.
        user_agent: As sent, cut to `TEXT_CHARS`.
        authenticated: Whether a valid token was shown.
        metadata: JSON object of `cf-aig-metadata`, at most five entries, or empty.
        collect: False: no row is kept, only the rollups count it (section 6.4 of the reference).
        collect_payload: False: the row is kept without bodies.
        team: Name of the caller's team, empty when it has none.
        user: Who called, as the token or the identity provider names the person; empty when unknown.
    """

    id: bytes
    account: str
    gateway: str
    request_type: str
    event_id: str = ""
    token: str = ""
    user_agent: str = ""
    authenticated: bool = False
    metadata: bytes = b""
    collect: bool = True
    collect_payload: bool = True
    team: str = ""
    user: str = ""


class Target(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """
    What one step asks for.

    Attributes:
        provider: Slug.
        path: The endpoint below the provider, without its query string (which may hold a key).
        model: As named in the request or the path, empty when none was found.
        request_content_type: Of the request body.
        request_bytes: Length of the request body.
        model_type: What the path is for, such as `chat` or `embeddings`; empty when not known.
    """

    provider: str
    path: str = ""
    model: str = ""
    request_content_type: str = ""
    request_bytes: int = 0
    model_type: str = ""


class Attempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """
    One call to a provider.

    Attributes:
        step: Index of the step in the request.
        provider: Slug.
        status: HTTP status, 0 when there was no answer.
        error_code: Code of `aigw.errors`, 0 when there was none.
        started_ms: Since the exchange opened.
        first_byte_ms: From the attempt's start to the answer's head, -1 when there was none.
        duration_ms: From the attempt's start to its end.
        model: Of this step.
        resends: How often the request went out anew because a kept connection was stale.
    """

    step: int
    provider: str
    status: int = 0
    error_code: int = 0
    started_ms: int = 0
    first_byte_ms: int = -1
    duration_ms: int = 0
    model: str = ""
    resends: int = 0


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """
    What only a realtime session has.

    Attributes:
        turns: Answers that the provider has finished.
        messages_in, messages_out: From the client, and from the provider.
        audio_in_ms, audio_out_ms: Sound from the client and from the provider, -1 where its length is not known.
        close_code: Of the first close frame, 0 when there was none.
        closed_by: `client`, `provider` or `gateway`.
    """

    turns: int = 0
    messages_in: int = 0
    messages_out: int = 0
    audio_in_ms: int = -1
    audio_out_ms: int = -1
    close_code: int = 0
    closed_by: str = ""


class Begin(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="b"):
    """
    An exchange has opened and is about to ask a provider.

    Attributes:
        origin, target: See there; `target` is the first step's.
        charged: What spend counters have taken for it, an estimate; it holds when the process dies.
    """

    origin: Origin
    target: Target
    charged: tuple[Charged, ...] = ()


class End(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="e"):
    """
    An exchange is over.

    Attributes:
        origin: As in its `Begin`.
        target: Of the step that gave the answer (or failed last).
        duration_ms: From the opening to the end.
        first_byte_ms: From the opening to the answer's first body byte, -1 when there was none.
        status: HTTP status that the client was told.
        success: Whether a complete answer with a status below 400 reached the end.
        complete: Whether the provider's answer ended with its own end mark.
        step: Index of the step that answered.
        response_content_type, response_bytes: Of the answer.
        response_model: As the provider names it, empty when it told none.
        usage: None when neither told nor guessed.
        cost_nanousd: None when the price is unknown; never 0 for want of a price.
        error_code: 0 when all went well, else a code of `aigw.errors`.
        error: Public text of the error.
        attempts: All calls that were made, in order.
        request_body, response_body: As captured, at most `log_body_bytes` each; None when not kept.
        request_cut, response_cut: True when the captured body is not the whole one.
        cached: True for an answer out of the cache.
        custom_cost: True when the price came from the request's own header.
        session: Of a realtime session, else None.
        charged: What it cost each spend counter.
        controls: What the controls did beyond a plain pass, such as `cache`, `distance`, `locked`; empty for nothing.
    """

    origin: Origin
    target: Target
    duration_ms: int = 0
    first_byte_ms: int = -1
    status: int = 0
    success: bool = False
    complete: bool = False
    step: int = 0
    response_content_type: str = ""
    response_bytes: int = 0
    response_model: str = ""
    usage: Usage | None = None
    cost_nanousd: int | None = None
    error_code: int = 0
    error: str = ""
    attempts: list[Attempt] = []
    request_body: bytes | None = None
    response_body: bytes | None = None
    request_cut: bool = False
    response_cut: bool = False
    cached: bool = False
    custom_cost: bool = False
    session: Session | None = None
    charged: tuple[Charged, ...] = ()
    controls: dict[str, str | int | float | bool | list[str]] = {}

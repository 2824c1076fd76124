"""A step made ready to be sent: its provider found, its address and headers judged, its body looked into once."""

from __future__ import annotations

from typing import Any, Protocol

import attrs

from aigw.codecs.sse import Event
from aigw.dispatch.retry import RetryPolicy, retry_policy
from aigw.dispatch.settings import step_clocks
from aigw.errors import InvalidField
from aigw.interfaces import ICredentials
from aigw.values.gateway import Gateway
from aigw.values.record import TEXT_CHARS, Target
from aigw.values.step import Clocks, Headers, Step, UpstreamRequest
from aigw.values.usage import Usage


class EventParser(Protocol):
    """Cuts the bytes of a stream into events."""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that these bytes completed."""

    def end(self) -> list[Event]:
        """What the end of the stream completes."""


class Reader(Protocol):
    """Reads along in an answer."""

    usage: Usage | None
    model: str
    terminal: bool
    error: str

    def parser(self, content_type: str, max_event_bytes: int) -> EventParser | None:
        """What cuts an answer of this type into events, None when it is no stream of events."""

    def head(self, headers: Headers) -> None:
        """The answer's header fields."""

    def event(self, event: Event) -> None:
        """One event of a stream."""

    def body(self, data: bytes) -> None:
        """A whole answer that is no stream."""

    def estimate(self, request_body: bytes) -> Usage | None:
        """A guess, for a stream that told nothing."""


@attrs.frozen
class Plan:
    """
    Attributes:
        provider: Of `aigw.providers`.
        request: As it will be sent.
        target: What the log says of it.
        reader: For this step's answer.
        credentials: What must be made before each attempt, None when the request has all it needs.
        retry: How often it is tried.
        patience: The owner's clocks, for the last of several attempts: it waits, whatever the caller's timeout.
    """

    provider: Any
    request: UpstreamRequest
    target: Target
    reader: Reader
    credentials: ICredentials | None
    retry: RetryPolicy
    patience: Clocks


class ProviderLookup(Protocol):
    """Finds providers."""

    def lookup(self, slug: str) -> Any:
        """
        The provider of a slug.

        Raises:
            InvalidProvider: There is none.
        """


def plan_step(index: int, step: Step, providers: ProviderLookup, clocks: Clocks, gateway: Gateway) -> Plan:
    """
    Make a step ready.

    Args:
        index: Of the step in its request, for the error's text.
        step: As the client wrote it.
        providers: The table.
        clocks: The owner's.
        gateway: The owner's settings; one vendor has its account in its own address.
    Raises:
        InvalidProvider, InvalidField: The step cannot be sent.
    """
    try:
        provider = providers.lookup(step.provider)
        url = provider.address(step.endpoint, step.headers, gateway.account)
        headers = provider.headers(step.headers)
        credentials = provider.credentials_for(step.endpoint, headers)
    except InvalidField as error:
        raise InvalidField(f"step {index}: {error.detail}") from None
    held = step.query if isinstance(step.query, bytes) else b""
    ask = provider.ask(held, step.endpoint)
    return Plan(
        provider,
        UpstreamRequest(step.method, url, headers, step.query, step_clocks(clocks, step.settings), provider.overridden),
        Target(
            provider=provider.slug,
            path=step.endpoint.partition("?")[0].lstrip("/")[:TEXT_CHARS],
            model=ask.model,
            request_content_type=_content_type(headers),
            request_bytes=len(held),
            model_type=provider.model_type(step.endpoint),
        ),
        provider.reader(step.endpoint),
        credentials,
        # A body that passes through is gone with the first attempt.
        retry_policy(gateway, step.settings) if isinstance(step.query, bytes) else RetryPolicy(),
        clocks,
    )


def _content_type(headers: Headers) -> str:
    for name, value in headers:
        if name == b"content-type":
            return value.decode("latin-1")[:TEXT_CHARS]
    return ""

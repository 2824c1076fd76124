"""A step made ready to be sent: its provider found, its address and headers judged, its body looked into once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import msgspec

from aigw.codecs.sse import Event
from aigw.controls.authentication import Caller
from aigw.controls.visit import Metadata, Price, Visit
from aigw.dispatch.custom_cost import CustomCost
from aigw.dispatch.retry import RetryPolicy
from aigw.dispatch.template import Template
from aigw.interfaces import ICredentials
from aigw.values.gateway import Gateway
from aigw.values.record import Target
from aigw.values.step import Ask, Clocks, Headers, Step, UpstreamRequest
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


class Plan(msgspec.Struct, frozen=True, gc=False):
    """
    Attributes:
        provider: Of `aigw.providers`.
        request: As it will be sent.
        target: What the log says of it.
        reader: For this step's answer.
        credentials: What must be made before each attempt, None when the request has all it needs.
        retry: How often it is tried.
        patience: The owner's clocks, for the last of several attempts: it waits, whatever the caller's timeout.
        visit: The step as the controls see it.
        locked: Names of the headers that were ignored because the owner has locked them.
        custom_cost: Whether the request brought its own price.
        total_nanousd: That price, where it is one for the whole request, whatever its answer says of its usage.
    """

    provider: Any
    request: UpstreamRequest
    target: Target
    reader: Reader
    credentials: ICredentials | None
    retry: RetryPolicy
    patience: Clocks
    visit: Visit
    locked: tuple[str, ...] = ()
    custom_cost: bool = False
    total_nanousd: int | None = None

    def cost_nanousd(self, usage: Usage, response_model: str) -> int | None:
        """
        What a usage of this step cost.

        Args:
            usage: See there.
            response_model: As the answer names it, empty when it told none; its price goes before that of the name that
                was asked for.
        """
        return self.visit.price(usage, response_model)


class Around(msgspec.Struct, frozen=True, gc=False):
    """
    What is the same for all steps of a request.

    Attributes:
        gateway: The owner's settings.
        caller: See there.
        metadata, raw_metadata: As checked, and as JSON.
        now_ms: When the exchange opened; UTC, milliseconds since the epoch.
        country: See `Visit`.
        price: Nano-dollars of a usage by provider and model; None when unknown.
    """

    gateway: Gateway
    caller: Caller
    metadata: Metadata
    raw_metadata: bytes
    now_ms: int
    country: str
    price: Callable[[str, str, Usage], int | None]

    def price_of(self, target: Target, own: CustomCost | None) -> Price:
        """What a usage costs: by the request's own price where it has one, else by the list."""
        if own is not None:
            return partial(_own_price, own)
        return partial(_listed_price, self.price, target.provider, target.model)

    def visit(self, target: Target, request: UpstreamRequest, step: Step, ask: Ask, price: Price) -> Visit:
        """A step as the controls see it."""
        return Visit(
            *(self.gateway, self.caller, target, request, step.settings, self.metadata, self.raw_metadata, ask),
            *(self.now_ms, price, self.country),
        )


def _own_price(own: CustomCost, usage: Usage, response_model: str = "") -> int:
    return own.cost_nanousd(usage)


def _listed_price(
    price: Callable[[str, str, Usage], int | None], provider: str, model: str, usage: Usage, response_model: str = ""
) -> int | None:
    """By the price list: the model that answered, else the one that was asked for."""
    cost = price(provider, response_model, usage) if response_model else None
    return price(provider, model, usage) if cost is None and model else cost


class ProviderLookup(Protocol):
    """Finds providers."""

    def lookup(self, slug: str) -> Any:
        """
        The provider of a slug.

        Raises:
            InvalidProvider: There is none.
        """


def plan_step(step: Step, template: Template, clocks: Clocks, around: Around) -> Plan:
    """
    Make a step ready.

    Args:
        step: As the client wrote it.
        template: Of the step.
        clocks: The owner's.
        around: See there.
    """
    query = step.query
    held = query if isinstance(query, bytes) else b""
    provider = template.provider
    ask = provider.ask(query if query is held else None, step.endpoint)
    target = Target(
        provider=provider.slug,
        path=template.path,
        model=ask.model,
        request_content_type=template.content_type,
        request_bytes=len(held),
        model_type=template.model_type,
    )
    request = UpstreamRequest(step.method, template.url, template.headers, query, template.clocks, provider.overridden)
    return Plan(
        provider,
        request,
        target,
        template.make_reader(),
        template.credentials,
        # A body that passes through is gone with the first attempt.
        template.retry if query is held else RetryPolicy(),
        clocks,
        around.visit(target, request, step, ask, around.price_of(target, template.own_cost)),
        step.locked,
        template.own_cost is not None,
        template.own_cost.total_nanousd if template.own_cost is not None else None,
    )

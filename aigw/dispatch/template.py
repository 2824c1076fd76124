"""
What is the same for all requests of one form: an application sends the same headers to the same address over and over,
and only the body is new.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from aigw.dispatch.custom_cost import CustomCost, custom_cost
from aigw.dispatch.retry import RetryPolicy, retry_policy
from aigw.dispatch.settings import Collect, ReadMetadata, check_settings, collect, read_metadata, step_clocks
from aigw.errors import InvalidField
from aigw.interfaces import ICredentials
from aigw.providers.answers import AnswerReader
from aigw.values.gateway import Gateway
from aigw.values.record import TEXT_CHARS
from aigw.values.step import Clocks, Headers, Step

KEPT = 512
# They hold the callers' credentials for providers, so none outlives its last use by much.
KEPT_MS = 60_000
# A step with more than this is not worth remembering.
KEY_BYTES = 8_192


@attrs.frozen
class Template:
    """
    Attributes:
        provider: Of `aigw.providers`.
        url, headers: Of the request.
        credentials: What must be made before each attempt, None when the request has all it needs.
        path, content_type, model_type: As the log says them.
        clocks: The owner's, under the step's own timeout.
        retry: How often it is tried, when its body is held.
        own_cost: The request's own price, None when it brings none.
        metadata: As read from the step's settings.
        kept: What the log keeps.
        make_reader: For one answer.
    """

    provider: Any
    url: bytes
    headers: Headers
    credentials: ICredentials | None
    path: str
    content_type: str
    model_type: str
    clocks: Clocks
    retry: RetryPolicy
    own_cost: CustomCost | None
    metadata: ReadMetadata
    kept: Collect
    make_reader: Callable[[], AnswerReader]


class Templates:
    """
    Makes templates, and keeps those that are asked for again.

    Args:
        lookup: The provider of a slug.
        clocks: The owner's.
    """

    def __init__(self, lookup: Callable[[str], Any], clocks: Clocks) -> None:
        self._lookup = lookup
        self._clocks = clocks
        # The gateway is held beside, so that no other object gets its identity.
        self._known: dict[object, tuple[Gateway, Template]] = {}
        self._since_ms = 0

    def of(self, index: int, step: Step, gateway: Gateway, now_ms: int) -> Template:
        """
        The template of a step.

        Args:
            index: Of the step in its request, for the error's text.
            step: As the client wrote it.
            gateway: The owner's settings; one vendor has its account in its own address.
            now_ms: UTC, milliseconds since the epoch.
        Raises:
            InvalidProvider, InvalidField: The step cannot be sent.
        """
        settings = step.settings
        key = (id(gateway), step.provider, step.endpoint, step.headers, tuple(settings.items()) if settings else ())
        known = self._known.get(key)
        if known is not None and now_ms - self._since_ms < KEPT_MS:
            return known[1]
        template = self._make(index, step, gateway)
        if len(self._known) >= KEPT or now_ms - self._since_ms >= KEPT_MS:
            self._known.clear()
            self._since_ms = now_ms
        if sum(len(name) + len(value) for name, value in (*step.headers, *settings.items())) <= KEY_BYTES:
            self._known[key] = (gateway, template)
        return template

    def _make(self, index: int, step: Step, gateway: Gateway) -> Template:
        check_settings(step.settings)
        try:
            provider = self._lookup(step.provider)
            url = provider.address(step.endpoint, step.headers, gateway.account)
            headers = provider.headers(step.headers)
            credentials = provider.credentials_for(step.endpoint, headers)
        except InvalidField as error:
            raise InvalidField(f"step {index}: {error.detail}") from None
        return Template(
            *(provider, url, headers, credentials),
            path=step.endpoint.partition("?")[0].lstrip("/")[:TEXT_CHARS],
            content_type=_content_type(headers),
            model_type=provider.model_type(step.endpoint),
            clocks=step_clocks(self._clocks, step.settings),
            retry=retry_policy(gateway, step.settings),
            own_cost=custom_cost(step.settings),
            metadata=read_metadata(step.settings),
            kept=collect(gateway, step.settings),
            make_reader=partial(provider.reader, step.endpoint),
        )


def _content_type(headers: Headers) -> str:
    for name, value in headers:
        if name == b"content-type":
            return value.decode("latin-1")[:TEXT_CHARS]
    return ""

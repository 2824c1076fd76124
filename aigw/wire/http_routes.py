"""The HTTP routes of the data port: the universal endpoint, and every provider's own API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import attrs
import msgspec
from msgspec import Meta
from twisted.web.server import NOT_DONE_YET

from aigw.controls.locks import is_setting
from aigw.dispatch.dispatcher import Dispatcher
from aigw.dispatch.opening import Opening
from aigw.dispatch.upload import Upload
from aigw.errors import Draining, InvalidProvider, MethodNotAllowed, UpgradeRequired
from aigw.providers.table import ProviderTable
from aigw.serving.http import GatewayRequest
from aigw.serving.wheel import Wheel
from aigw.values.step import Headers, Step
from aigw.wire.address import Address
from aigw.wire.cors import METHODS
from aigw.wire.entry import Door, Entry
from aigw.wire.envelope import Envelope, read_steps
from aigw.wire.http_reply import HttpReply

# CONNECT asks for a tunnel, and TRACE for the request's own headers, which hold keys.
_NOT_ASKED = frozenset((b"CONNECT", b"TRACE"))

# Where vendors keep their keys: whoever may call is told that a slug is wrong, wherever the token stands.
_KEYS = (b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"xi-api-key")


class FrontSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the HTTP routes treat bodies and streams."""

    request_body_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Length of a JSON body that is held, so that other steps can be tried with it; a longer one"
            " passes through to a provider's own API, and gets 413 on the universal endpoint.",
        ),
    ] = 16_777_216
    heartbeat_s: Annotated[
        float,
        Meta(
            ge=0, description="Seconds of silence in a stream after which a comment keeps middle boxes awake; 0: off."
        ),
    ] = 15.0
    country_header: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9-]{0,64}\Z",
            description="Header in which a proxy in front tells the caller's country in two letters, such as"
            " `cf-ipcountry`, for policies; empty: none. Only for a proxy that removes what callers send.",
        ),
    ] = ""
    stalled_s: Annotated[
        float,
        Meta(gt=0, description="Seconds that a client may read nothing while bytes wait for it; then it is dropped."),
    ] = 120.0


@attrs.frozen
class HttpRoutes:
    """
    Serves HTTP requests of the data port.

    Attributes:
        door: Lets requests in.
        dispatcher: Takes requests.
        providers: Knows where each keeps its credential.
        wheel: For heartbeats.
        settings: See there.
        steps: How many a request may list.
        log_body_bytes: Bytes of a passing body that the log keeps.
        allowed_origins: Of pages.
        running: Replies that are not over.
    """

    door: Door
    dispatcher: Dispatcher
    providers: ProviderTable
    wheel: Wheel
    settings: FrontSettings
    steps: int
    log_body_bytes: int
    allowed_origins: tuple[str, ...]
    running: set[HttpReply] = attrs.field(factory=set)

    # By the head, before the body is read ---------------------------------------------------------------------------

    # Each of these returns what serves the request when its body is held and whole; they raise a `GatewayError` for one
    # that is not let in.

    def admit_universal(self, request: GatewayRequest, address: Address) -> Callable[[], int]:
        """Judge a request for the universal endpoint."""
        if request.method == b"GET":
            raise UpgradeRequired()
        if request.method != b"POST":
            raise MethodNotAllowed("the universal endpoint takes POST, and GET for a WebSocket")
        entry = self.enter(request, address)
        request.body_limit = self.settings.request_body_bytes
        return lambda: self._serve_universal(request, entry)

    def admit_native(self, request: GatewayRequest, address: Address) -> Callable[[], int]:
        """Judge a request for a provider's own API."""
        method = request.method
        if method in _NOT_ASKED or not (method.isalpha() and method.isupper()):
            request.setHeader(b"allow", METHODS)
            raise MethodNotAllowed("a provider is not asked with it")
        entry = self.enter(request, address)
        limit = self.settings.request_body_bytes
        length = request.declared_bytes
        if _is_json(request) and (length is None or length <= limit):
            request.body_limit = limit
        elif length != 0:
            self._pass_through(request, entry, address, length)
        return lambda: self._serve_native(request, entry, address)

    def enter(self, request: GatewayRequest, address: Address, offered: Sequence[str] = ()) -> Entry:
        """
        Stages 1 and 2, for every route that leads to a provider.

        Args:
            request: With its head complete.
            address: Of the request.
            offered: Subprotocols, which may hold a token.
        Raises:
            GatewayError: The request is not let in. Who may not call is not told either which providers there are.
        """
        unknown: InvalidProvider | None = None
        positions: tuple[bytes, ...] = ()
        if address.provider:
            try:
                positions = self.providers.lookup(address.provider).credentials
            except InvalidProvider as error:
                unknown, positions = error, _KEYS
        entry = self.door.enter(request, address, offered, positions)
        if unknown is not None:
            raise unknown
        if self.dispatcher.draining:
            raise Draining()
        return entry

    # With the body --------------------------------------------------------------------------------------------------

    def _serve_universal(self, request: GatewayRequest, entry: Entry) -> int:
        envelope = read_steps(_body(request), entry.held, self.steps)
        self._open(request, entry, "universal", envelope)
        return NOT_DONE_YET

    def _serve_native(self, request: GatewayRequest, entry: Entry, address: Address) -> int:
        step = _native_step(request, entry, address, _body(request))
        self._open(request, entry, "native", Envelope("", (step,)))
        return NOT_DONE_YET

    def _pass_through(self, request: GatewayRequest, entry: Entry, address: Address, length: int | None) -> None:
        """Begin the exchange now; the body follows as it comes."""
        upload = Upload(length, self.log_body_bytes, request.pause_body, request.resume_body)
        request.sink = upload
        self._open(request, entry, "native", Envelope("", (_native_step(request, entry, address, upload),)))

    def _open(self, request: GatewayRequest, entry: Entry, request_type: str, envelope: Envelope) -> None:
        settings = envelope.steps[0].settings if envelope.steps else entry.settings
        event_id = settings.get(b"cf-aig-event-id", b"").decode("utf-8", "replace")
        opening = Opening(
            gateway=entry.gateway,
            caller=entry.caller,
            user_agent=entry.user_agent,
            request_type=request_type,
            event_id=event_id,
            steps=envelope.steps,
            settings=settings,
            country=entry.country,
            refusal=envelope.refusal,
        )
        reply = HttpReply(
            *(request, event_id, self.wheel, self.settings.heartbeat_s, self.settings.stalled_s),
            lambda: self.running.discard(reply),
        )
        self.running.add(reply)
        reply.attach(self.dispatcher.open(opening, reply))


def _native_step(request: GatewayRequest, entry: Entry, address: Address, body: bytes | Upload) -> Step:
    return Step(
        provider=address.provider,
        endpoint=address.endpoint,
        headers=_provider_headers(request),
        query=body,
        settings=entry.settings,
        method=request.method,
        locked=entry.held.locked,
    )


def _provider_headers(request: GatewayRequest) -> Headers:
    """What the client sent, but for the gateway's own; the provider's table drops what must not pass."""
    return tuple([field for field in request.requestHeaders.fields if not is_setting(field[0])])


def _body(request: GatewayRequest) -> bytes:
    return request.content.getvalue() if request.content is not None else b""


def _is_json(request: GatewayRequest) -> bool:
    """Whether the body is JSON; one that does not say what it is goes to the provider as that, too."""
    kind = (request.getHeader(b"content-type") or b"json").partition(b";")[0].strip().lower()
    return bool(kind.endswith(b"json"))

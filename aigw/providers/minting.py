"""Access tokens: minted once for everybody who waits, kept, and renewed before they expire."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.errors import ProviderFailed
from aigw.interfaces import IOutboundHTTP
from aigw.providers.peek import peek

# Identities whose tokens are kept; clients may bring any number of their own.
TOKENS_KEPT = 1024
# A token is renewed beside the requests that still use it when so little is left of it...
EARLY_S = 300.0
# ...and is not sent any more when it may expire on the way.
MARGIN_S = 30.0
# After a renewal has failed, the next one waits; the old token still serves.
RETRY_S = 15.0
TOKEN_CHARS = 16_384


@attrs.frozen
class AccessToken:
    """
    Attributes:
        text: For `Authorization: Bearer`.
        lifetime_s: From the moment it was asked for.
    """

    text: str = attrs.field(repr=False)
    lifetime_s: float


@attrs.define
class _Kept:
    text: str
    until_s: float
    renew_at_s: float


class _Flight:
    """A token on its way, and those who wait for it."""

    def __init__(self) -> None:
        self.asking: Deferred[Any] | None = None
        self.waiting: list[Deferred[str]] = []
        # A renewal goes on although nobody waits.
        self.renewal = False


class TokenMint:
    """
    Keeps one token an identity.

    Args:
        monotonic_s: Tells how old tokens are.
    """

    _log = Logger()

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._flights: dict[bytes, _Flight] = {}

    def token(self, identity: bytes, ask: Callable[[], Deferred[AccessToken]]) -> str | Deferred[str]:
        """
        The token of an identity.

        Args:
            identity: Whose, and for what; a digest where it would be secret.
            ask: Asks for a new one; called at most once at a time for an identity.
        Returns:
            The token; or a Deferred of it, which may be cancelled. The question is taken back when nobody waits for
            its answer any more.
        Raises:
            GatewayError: From `ask`.
        """
        now_s = self._monotonic_s()
        kept = self._kept.get(identity)
        if kept is not None and now_s < kept.until_s - MARGIN_S:
            self._kept.move_to_end(identity)
            if now_s >= kept.renew_at_s and identity not in self._flights:
                kept.renew_at_s = now_s + RETRY_S
                self._start(identity, ask, renewal=True)
            return kept.text
        flight = self._flights.get(identity)
        waiter: Deferred[str] = Deferred(lambda waiter: self._leave(identity, waiter))
        if flight is not None:
            flight.waiting.append(waiter)
            return waiter
        self._start(identity, ask, renewal=False, waiter=waiter)
        return waiter

    def _start(
        self,
        identity: bytes,
        ask: Callable[[], Deferred[AccessToken]],
        *,
        renewal: bool,
        waiter: Deferred[str] | None = None,
    ) -> None:
        asked_at_s = self._monotonic_s()
        asking = ask()
        flight = self._flights[identity] = _Flight()
        flight.renewal = renewal
        if waiter is not None:
            flight.waiting.append(waiter)
        flight.asking = asking
        asking.addCallbacks(
            lambda token: self._minted(identity, flight, token, asked_at_s),
            lambda failure: self._failed(identity, flight, failure),
        ).addErrback(lambda failure: self._log.failure("a token could not be handed out", failure=failure))

    def _minted(self, identity: bytes, flight: _Flight, token: AccessToken, asked_at_s: float) -> None:
        if self._flights.get(identity) is flight:
            del self._flights[identity]
        # Of a short-lived token, half may be used before it is renewed.
        early_s = min(EARLY_S, token.lifetime_s / 2)
        until_s = asked_at_s + token.lifetime_s
        self._kept[identity] = _Kept(token.text, until_s, until_s - early_s)
        self._kept.move_to_end(identity)
        if len(self._kept) > TOKENS_KEPT:
            self._kept.popitem(last=False)
        for waiter in flight.waiting:
            waiter.callback(token.text)

    def _failed(self, identity: bytes, flight: _Flight, failure: Failure) -> None:
        if self._flights.get(identity) is flight:
            del self._flights[identity]
        if not flight.waiting and not failure.check(CancelledError):
            self._log.warn("A token could not be renewed: {reason}", reason=failure.getErrorMessage())
        for waiter in flight.waiting:
            waiter.errback(failure)

    def _leave(self, identity: bytes, waiter: Deferred[str]) -> None:
        flight = self._flights.get(identity)
        if flight is None or waiter not in flight.waiting:
            return
        flight.waiting.remove(waiter)
        if not flight.waiting and not flight.renewal and flight.asking is not None:
            # Whoever asks from now on starts anew, whatever becomes of this question.
            del self._flights[identity]
            flight.asking.cancel()


class _Told(msgspec.Struct):
    access_token: Any = None
    expires_in: Any = None
    error: Any = None


_told = msgspec.json.Decoder(_Told)


async def ask_token_endpoint(outbound: IOutboundHTTP, url: str, form: bytes, vendor: str) -> AccessToken:
    """
    Ask an OAuth 2.0 token endpoint (RFC 6749, 5.1).

    Args:
        outbound: Asks.
        url: Of the endpoint.
        form: The fields of the question, URL-encoded.
        vendor: Named in errors.
    Raises:
        ProviderFailed: There is no token. The text holds the endpoint's error code and nothing else of its answer,
            which may repeat what was sent.
    """
    headers = (
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"accept", b"application/json"),
    )
    try:
        answer = await outbound.request(b"POST", url.encode("ascii"), headers, form)
    except ProviderFailed as error:
        raise ProviderFailed(f"{vendor} gave no access token: {error.message}") from None
    told = peek(_told, answer.body) or _Told()
    if answer.status != 200:
        raise ProviderFailed(f"{vendor} gave no access token: status {answer.status}{_code(told.error)}")
    text, lifetime_s = told.access_token, told.expires_in
    # Entra's older endpoint tells numbers as texts.
    if isinstance(lifetime_s, str) and lifetime_s.isdigit() and len(lifetime_s) < 12:
        lifetime_s = int(lifetime_s)
    if not _is_token(text) or not isinstance(lifetime_s, (int, float)) or not 0 < lifetime_s < 1e9:
        raise ProviderFailed(f"{vendor} gave no access token: its answer holds none that can be used")
    return AccessToken(text, float(lifetime_s))


def _code(told: object) -> str:
    """An error code of OAuth, such as `invalid_grant`; nothing when it is no such word."""
    plain = isinstance(told, str) and len(told) <= 64 and told.replace("_", "").isascii()
    return f", {told}" if plain and str(told).replace("_", "").isalnum() else ""


def _is_token(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= TOKEN_CHARS and all(0x21 <= ord(char) <= 0x7E for char in text)

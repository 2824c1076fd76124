"""What a realtime session leaves behind: its messages as lines, its tokens and cost, and the record."""

from __future__ import annotations

from typing import Any

import msgspec

from aigw.controls.visit import Price
from aigw.dispatch.accounting import Taken
from aigw.dispatch.parts import Parts
from aigw.errors import GatewayError
from aigw.providers.sessions import Heard, SessionReader
from aigw.values.record import TEXT_CHARS, Attempt, End, Origin, Session, Target
from aigw.values.usage import Usage, add_usage

CONTENT_TYPE = "application/x-ndjson"
SWITCHED = 101

_line = msgspec.json.Encoder().encode
# Transcripts are short and say the most, so sound does not crowd them out.
_TRANSCRIPT_SHARE = 4


class Lines:
    """
    One side's messages as lines of JSON, up to a bound; transcripts have a share of their own and come first.

    Args:
        side: `client` or `provider`.
        limit_bytes: How much is kept.
    Attributes:
        cut: Whether there was more than is kept.
    """

    def __init__(self, side: str, limit_bytes: int) -> None:
        self._side = side
        self._said: list[bytes] = []
        self._said_room = limit_bytes // _TRANSCRIPT_SHARE
        self._messages: list[bytes] = []
        self._room = limit_bytes - self._said_room
        self.cut = False

    def message(self, t_ms: int, payload: bytes, binary: bool) -> None:
        """A message as it passed."""
        if len(payload) > self._room:
            self._room = 0
            self.cut = True
            return
        # Encoded as base64 when it is bytes.
        shown: dict[str, Any] = {"base64": payload} if binary else {"text": payload.decode("utf-8", "replace")}
        line = _line({"t_ms": t_ms, "from": self._side, **shown}) + b"\n"
        self._room -= len(line)
        if self._room < 0:
            self.cut = True
        else:
            self._messages.append(line)

    def note(self, t_ms: int, **told: Any) -> None:
        """A transcript, or the end of the session."""
        line = _line({"t_ms": t_ms, "from": self._side, **told}) + b"\n"
        self._said_room -= len(line)
        if self._said_room < 0:
            self.cut = True
        else:
            self._said.append(line)

    def body(self) -> bytes:
        """All that was kept."""
        return b"".join((*self._said, *self._messages))


class SessionLog:
    """
    Follows one session.

    Args:
        parts: For the clock, the prices and the bounds.
        origin: Of the session, which opens now.
        price: Of its usage; None for a session that nobody opens.
    Attributes:
        status: HTTP status that the provider answered with, 0 before.
    """

    def __init__(self, parts: Parts, origin: Origin, price: Price | None) -> None:
        self._parts = parts
        self._opened_at = parts.monotonic()
        self._origin = origin
        self._price = price
        limit = parts.settings.log_body_bytes
        self._lines = {side: Lines(side, limit) for side in ("client", "provider")}
        self._bytes = {"client": 0, "provider": 0}
        self._messages = {"client": 0, "provider": 0}
        self._asked_ms = -1
        self._answered_ms = -1
        self._first_ms = -1
        self._turns = 0
        self._usage: Usage | None = None
        self._cost_nanousd: int | None = 0
        self._close_code = 0
        self._closed_by = ""
        self._refusal = b""
        self.status = 0

    def _now_ms(self) -> int:
        return int((self._parts.monotonic() - self._opened_at) * 1000 + 0.5)

    # What happens -----------------------------------------------------------------------------------------------------

    def asked(self) -> None:
        """The provider is being connected."""
        self._asked_ms = self._now_ms()

    def answered(self, status: int, body: bytes = b"") -> None:
        """The provider has answered the upgrade."""
        self._answered_ms = self._now_ms()
        self.status = status
        self._refusal = body

    def message(self, side: str, payload: bytes, binary: bool) -> None:
        """A message has passed."""
        now_ms = self._now_ms()
        if side == "provider" and self._first_ms < 0:
            self._first_ms = now_ms
        self._bytes[side] += len(payload)
        self._messages[side] += 1
        if self._origin.collect_payload:
            self._lines[side].message(now_ms, payload, binary)

    def heard(self, heard: Heard, model: str) -> int | None:
        """A message told something; returns what that alone cost, in nano-dollars, None when unknown."""
        if self._origin.collect_payload:
            for side, words in heard.said:
                self._lines[side].note(self._now_ms(), transcript=words)
        self._turns += heard.turn
        if heard.usage is None or self._price is None:
            return None
        self._usage = add_usage(self._usage, heard.usage)
        cost = self._price(heard.usage, model)
        # A sum with an unknown part is unknown.
        known = cost is not None and self._cost_nanousd is not None
        self._cost_nanousd = self._cost_nanousd + cost if known else None  # type: ignore[operator]  # both are known
        return cost

    def closed(self, side: str, code: int | None, reason: str) -> None:
        """A close frame has come."""
        if self._origin.collect_payload:
            self._lines[side].note(self._now_ms(), close=code, reason=reason)

    def ended(self, side: str, code: int | None) -> None:
        """Whose doing the end is, and the code of the first close frame, whoever sent it."""
        self._closed_by = side
        self._close_code = code or 0

    # The record -------------------------------------------------------------------------------------------------------

    def record(self, target: Target, reader: SessionReader, error: GatewayError | None, taken: Taken) -> End:
        """The one record of the session."""
        keep = self._origin.collect_payload
        open_ = self.status == SWITCHED
        client, provider = self._lines["client"], self._lines["provider"]
        cost = self._cost_nanousd if self._usage is not None else None
        status = self.status or (error.status if error is not None else 0)
        return End(
            origin=self._origin,
            target=msgspec.structs.replace(
                target,
                model=target.model or reader.model[:TEXT_CHARS],
                request_content_type=CONTENT_TYPE if open_ else "",
                request_bytes=self._bytes["client"],
            ),
            duration_ms=self._now_ms(),
            first_byte_ms=self._first_ms,
            status=status,
            success=error is None and open_,
            complete=error is None and open_,
            response_content_type=CONTENT_TYPE if open_ else "",
            response_bytes=self._bytes["provider"] if open_ else len(self._refusal),
            response_model=reader.model[:TEXT_CHARS],
            usage=self._usage,
            cost_nanousd=cost,
            error_code=error.code if error is not None else 0,
            error=error.message[: 2 * TEXT_CHARS] if error is not None else "",
            attempts=self._attempts(target, error),
            request_body=client.body() if keep and open_ else None,
            response_body=(provider.body() if open_ else self._refusal or None) if keep else None,
            request_cut=keep and client.cut,
            response_cut=keep and provider.cut,
            session=Session(
                turns=self._turns,
                messages_in=self._messages["client"],
                messages_out=self._messages["provider"],
                audio_in_ms=_ms(reader.audio_in_ms),
                audio_out_ms=_ms(reader.audio_out_ms),
                close_code=self._close_code,
                closed_by=self._closed_by,
            ),
            charged=taken.settle(self._usage, cost, not open_ or not self._turns),
            controls=taken.notes,
        )

    def _attempts(self, target: Target, error: GatewayError | None) -> list[Attempt]:
        if self._asked_ms < 0:
            return []
        return [
            Attempt(
                step=0,
                provider=target.provider,
                status=self.status,
                error_code=error.code if error is not None else 0,
                started_ms=self._asked_ms,
                first_byte_ms=self._answered_ms - self._asked_ms if self._answered_ms >= 0 else -1,
                duration_ms=self._now_ms() - self._asked_ms,
                model=target.model,
            )
        ]


def _ms(sound_ms: float | None) -> int:
    return -1 if sound_ms is None else int(sound_ms + 0.5)

"""What an exchange leaves behind: its attempts, its times, and the one record that is made of them."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from aigw.controls.hold import NOTHING_HELD, Hold
from aigw.dispatch.answer import AnswerHead
from aigw.dispatch.parts import Parts
from aigw.dispatch.plan import Plan
from aigw.dispatch.reading import Reading
from aigw.dispatch.upload import Upload
from aigw.errors import ClientGone, GatewayError
from aigw.values.cached import CachedAnswer
from aigw.values.counting import Charged
from aigw.values.record import TEXT_CHARS, Attempt, End, Origin, Target
from aigw.values.usage import Usage

# The log of one exchange stays narrow however many calls were made.
ATTEMPTS_KEPT = 16

NO_TARGET = Target("none")


@attrs.define
class Taken:
    """
    What the controls did for an exchange.

    Attributes:
        hold: What was taken from its limits, by its present step and those before.
        answer: From the cache, when that was given.
        shared: Whether the answer came from a call that another exchange pays for.
        cached: Whether no call was made for this exchange.
        asked: Whether any provider was asked.
        notes: For the log.
    """

    hold: Hold = NOTHING_HELD
    answer: CachedAnswer | None = None
    shared: bool = False
    cached: bool = False
    asked: bool = False
    notes: dict[str, Any] = attrs.field(factory=dict)

    def settle(self, usage: Usage | None, cost_nanousd: int | None, failed: bool) -> tuple[Charged, ...]:
        """
        Bring what was taken to what was used.

        Args:
            usage, cost_nanousd: Of the answer; None when unknown.
            failed: Whether the provider gave none, or an error.
        Returns:
            What it cost each budget.
        """
        if not self.asked:
            self.hold.release()
        return self.hold.settle(usage, cost_nanousd, failed)


class Account:
    """
    Follows one exchange.

    Args:
        parts: For the clock and the prices.
        origin: Of the exchange, which opens now.

    Attributes:
        origin: As given.
    """

    __slots__ = (
        "_attempt_at",
        "_attempts",
        "_first_byte_at",
        "_head_at",
        "_opened_at",
        "_parts",
        "_resends",
        "_status",
        "_step",
        "origin",
    )

    def __init__(self, parts: Parts, origin: Origin) -> None:
        self.origin = origin
        self._parts = parts
        self._opened_at = parts.monotonic()
        self._attempts: list[Attempt] = []
        self._step = 0
        self._attempt_at = 0.0
        self._head_at = -1.0
        self._first_byte_at = -1.0
        self._status = 0
        self._resends = 0

    # What happens ---------------------------------------------------------------------------------------------------

    def asked(self, step: int) -> None:
        """An attempt begins; what the one before had got to is forgotten."""
        self._step = step
        self._attempt_at = self._parts.monotonic()
        self._head_at = self._first_byte_at = -1.0
        self._status = self._resends = 0

    def resent(self) -> None:
        """The request of this attempt went out once more."""
        self._resends += 1

    def answered(self, status: int) -> None:
        """The answer's head has come."""
        self._head_at = self._parts.monotonic()
        self._status = status

    def got_bytes(self) -> None:
        """Bytes of the answer have come; the first ones count."""
        if self._first_byte_at < 0:
            self._first_byte_at = self._parts.monotonic()

    def left(self, plan: Plan, error_code: int) -> None:
        """The attempt is over, with an error or, for 0, without one."""
        if len(self._attempts) >= ATTEMPTS_KEPT:
            return
        self._attempts.append(
            Attempt(
                step=self._step,
                provider=plan.target.provider,
                status=self._status,
                error_code=error_code,
                started_ms=_ms(self._attempt_at - self._opened_at),
                first_byte_ms=_ms(self._head_at - self._attempt_at) if self._head_at >= 0 else -1,
                duration_ms=_ms(self._parts.monotonic() - self._attempt_at),
                model=plan.target.model,
                resends=self._resends,
            )
        )

    # What is written of it ------------------------------------------------------------------------------------------

    def record(
        self,
        plan: Plan | None,
        reading: Reading | None,
        error: GatewayError | None,
        target: Target,
        taken: Taken,
    ) -> End:
        """
        The record of the exchange, which ends now.

        Args:
            plan: Of the step that answered or failed last; None when there was none.
            reading: Of its answer; None when nobody was asked.
            error: None when the answer is complete.
            target: What the log says of the step.
            taken: What the controls did.
        """
        head = reading.head if reading is not None else None
        answer = taken.answer
        cost: int | None
        if answer is not None:
            # Asked for once, paid for once.
            usage, cost, response_model = answer.usage, 0, answer.model
        else:
            usage, cost, response_model = self._usage(plan, reading)
            if taken.shared:
                cost = 0
        keep = self.origin.collect_payload
        request, request_bytes, request_cut = self._request_body(plan)
        if plan is not None and request_bytes != target.request_bytes:
            target = msgspec.structs.replace(target, request_bytes=request_bytes)
        return End(
            origin=self.origin,
            target=target,
            duration_ms=_ms(self._parts.monotonic() - self._opened_at),
            first_byte_ms=_ms(self._first_byte_at - self._opened_at) if self._first_byte_at >= 0 else -1,
            status=_told_status(reading, error),
            success=error is None and head is not None and head.status < 400,
            complete=error is None and head is not None,
            step=self._step,
            response_content_type=head.content_type[:TEXT_CHARS] if head else "",
            response_bytes=reading.capture.total_bytes if reading else 0,
            response_model=response_model[:TEXT_CHARS],
            usage=usage,
            cost_nanousd=cost,
            error_code=error.code if error else 0,
            error=error.message[: 2 * TEXT_CHARS] if error else "",
            attempts=self._attempts,
            request_body=request if keep and plan else None,
            response_body=reading.kept_body if keep and reading and head else None,
            request_cut=keep and request_cut,
            response_cut=keep and reading is not None and reading.kept_in_part,
            cached=answer is not None or taken.cached,
            custom_cost=cost is not None and plan is not None and plan.custom_cost,
            charged=self._settle(taken, usage, cost, _unanswered(head, error)),
            controls=taken.notes,
        )

    def _settle(self, taken: Taken, usage: Usage | None, cost: int | None, failed: bool) -> tuple[Charged, ...]:
        if taken.shared and not taken.cached:
            # Its call goes on for others, who took nothing from their limits: what was taken here stays.
            return taken.settle(None, None, False)
        if taken.answer is not None or taken.cached:
            # No call was made for it, or the one that was has failed.
            return taken.settle(None, 0, True)
        return taken.settle(usage, cost, failed)

    def _request_body(self, plan: Plan | None) -> tuple[bytes, int, bool]:
        """What the log keeps of the request's body, how long all of it was, and whether some is missing."""
        body = plan.request.body if plan else b""
        if isinstance(body, Upload):
            return body.capture.body(), body.capture.total_bytes, body.capture.cut
        if not isinstance(body, bytes):
            # Another producer keeps nothing of what it made.
            return b"", 0, True
        kept = self._parts.settings.log_body_bytes
        return body[:kept], len(body), len(body) > kept

    def _usage(self, plan: Plan | None, reading: Reading | None) -> tuple[Usage | None, int | None, str]:
        """Usage, cost and the model's name in the answer."""
        head = reading.head if reading is not None else None
        if plan is None or head is None:
            return None, None, ""
        reader = plan.reader
        usage = reader.usage
        if head.streaming and head.status < 400:
            # The provider counted and will charge for it, also when the client left in the middle; what it told until
            # then may be a beginning only.
            usage = reader.estimate(self._request_body(plan)[0])
        if usage is None:
            return None, plan.total_nanousd if head.status < 400 else None, reader.model
        return usage, plan.cost_nanousd(usage, reader.model), reader.model


def _unanswered(head: AnswerHead | None, error: GatewayError | None) -> bool:
    """Whether there is nothing to pay for; a client that left tells nothing of what its provider did."""
    return head.status >= 400 if head is not None else not isinstance(error, ClientGone)


def _told_status(reading: Reading | None, error: GatewayError | None) -> int:
    """The HTTP status that the client was told; 0 for none."""
    head = reading.head if reading is not None else None
    if error is not None and (reading is None or head is None or reading.held_back):
        return error.status
    return head.status if head else 0


def _ms(seconds: float) -> int:
    return int(seconds * 1000 + 0.5)

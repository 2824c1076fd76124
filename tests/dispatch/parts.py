"""What the tests of dispatch work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.task import Clock
from zope.interface import implementer

from aigw.codecs.sse import Event
from aigw.controls.authentication import ANONYMOUS, Caller
from aigw.dispatch.answer import AnswerHead, Outcome
from aigw.dispatch.dispatcher import Dispatcher
from aigw.dispatch.exchange import Exchange
from aigw.dispatch.opening import Opening
from aigw.dispatch.parts import Parts
from aigw.dispatch.settings import DispatchSettings
from aigw.errors import GatewayError
from aigw.interfaces import ICacheStore, ICounters, IReply
from aigw.providers.table import ProviderTable
from aigw.serving.wheel import Wheel
from aigw.testing.controls import memory_controls
from aigw.testing.data_port import START_MS, CountingMeter, flat_price
from aigw.testing.logs import MemoryLogSink
from aigw.testing.upstream import ScriptedUpstream
from aigw.values.gateway import Gateway
from aigw.values.ids import LogIds
from aigw.values.record import End
from aigw.values.step import Step

CHAT = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Will it rain?"}]}'
OPEN = Gateway(id="default", authentication=False)


class SteppedSink(MemoryLogSink):
    """A sink that makes records safe when the test says so."""

    def _release(self, safe: Callable[[], None]) -> None:
        self._safe.append(safe)

    @property
    def waiting(self) -> int:
        """Records that are not safe yet."""
        return len(self._safe)

    def step(self, index: int = 0) -> None:
        """Make one record safe, the oldest unless told otherwise."""
        self._safe.pop(index)()

    def flush(self) -> None:
        """Make all records safe, and those that follow from it."""
        while self._safe:
            self.step()


@implementer(IReply)
class ListReply:
    """
    A client that keeps what it is told.

    Attributes:
        heads, chunks, events, outcomes: In the order in which they came.
    """

    def __init__(self, wants_whole: bool = True, holds_end: bool = False) -> None:
        self.wants_whole = wants_whole
        self.holds_end = holds_end
        self.tells_limits = True
        self.heads: list[AnswerHead] = []
        self.chunks: list[bytes] = []
        self.events: list[Event] = []
        self.outcomes: list[Outcome] = []

    def head(self, head: AnswerHead) -> None:
        """See `IReply`."""
        self.heads.append(head)

    def body(self, chunk: bytes, events: Sequence[Event]) -> None:
        """See `IReply`."""
        self.chunks.append(chunk)
        self.events += events

    def finish(self, outcome: Outcome) -> None:
        """See `IReply`."""
        self.outcomes.append(outcome)

    @property
    def outcome(self) -> Outcome:
        """The one outcome."""
        (outcome,) = self.outcomes
        return outcome

    @property
    def error_code(self) -> int:
        """Of the outcome, 0 when all went well."""
        return self.outcome.error.code if self.outcome.error else 0


def step(provider: str = "openai", endpoint: str = "chat/completions", query: bytes = CHAT, **settings: str) -> Step:
    """
    A step.

    Args:
        provider, endpoint, query: See `Step`.
        settings: `cf-aig-*` headers without that prefix, an underscore for each hyphen.
    """
    headers = ((b"content-type", b"application/json"), (b"authorization", b"Bearer sk-fake"))
    named = {b"cf-aig-" + name.replace("_", "-").encode(): value.encode() for name, value in settings.items()}
    return Step(provider, endpoint, headers, query, named)


class Workbench:
    """
    A dispatcher between scripted providers and a stepped sink.

    Args:
        counters, store: For the controls; by default in memory.
        bounds: Of `DispatchSettings`.
    """

    def __init__(self, *, counters: ICounters | None = None, store: ICacheStore | None = None, **bounds: Any) -> None:
        self.clock = Clock()
        self.upstream = ScriptedUpstream()
        self.sink = SteppedSink(self.clock)
        self.meter = CountingMeter()
        self.controls = memory_controls(self.clock, self.utc_ms, counters, store)
        parts = Parts(
            *(self.upstream, self.sink, flat_price, self.clock.seconds, self.meter),
            *(DispatchSettings(**bounds), self.controls, Wheel(self.clock).schedule, partial(self.clock.callLater, 0)),
        )
        self.dispatcher = Dispatcher(parts, ProviderTable(), LogIds(self.utc_ms))

    def utc_ms(self) -> int:
        """The wall clock."""
        return START_MS + int(self.clock.seconds() * 1000)

    def open(
        self,
        *steps: Step,
        reply: ListReply | None = None,
        gateway: Gateway = OPEN,
        caller: Caller = ANONYMOUS,
        event_id: str = "",
        user_agent: str = "",
        refusal: GatewayError | None = None,
    ) -> tuple[Exchange, ListReply]:
        """Open an exchange, by default for one good step."""
        reply = reply or ListReply()
        steps = steps or (() if refusal else (step(),))
        opening = Opening(
            gateway=gateway,
            caller=caller,
            user_agent=user_agent,
            request_type="websocket",
            event_id=event_id,
            steps=steps,
            settings=steps[0].settings if steps else {},
            refusal=refusal,
        )
        return self.dispatcher.open(opening, reply), reply

    def asked(self, *steps: Step, **more: Any) -> tuple[Exchange, ListReply]:
        """Open an exchange and let its BEGIN be safe."""
        exchange, reply = self.open(*steps, **more)
        self.sink.flush()
        return exchange, reply

    @property
    def record(self) -> End:
        """The one record."""
        (record,) = self.sink.ended
        return record

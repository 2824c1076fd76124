"""An agent for `sandbox://`: answers without a key or a network, at a pace, and with the trouble it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IConsumer, IProducer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers as WebHeaders
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer

from aigw.errors import ConnectFailed, InvalidField, TruncatedStream
from aigw.serving.wheel import Timer, Wheel
from aigw.upstream.answer import Answer
from aigw.upstream.body import HeldBody, StreamedBody, sendable
from aigw.upstream.request import split_url
from aigw.upstream.sandbox_answers import Reply, Stamp, reply
from aigw.upstream.sandbox_script import Script
from aigw.values.step import Headers

# Of a body that is streamed to it, the sandbox reads so much; the rest is taken and forgotten.
READ_BYTES = 1_048_576
# Finer than the clocks of calls need: a stream's pace is a few milliseconds.
TICK_S = 0.002


@implementer(IAgent)
class Sandbox:
    """
    Stands beside the network's agent under the same client, so every clock and stage runs for it as for a provider.

    Args:
        clock: Keeps the pace.
        pace_ms: Between two chunks of an answer, unless the model's name says otherwise.
        utc_s: Seconds since the epoch.
    """

    def __init__(self, clock: IReactorTime, pace_ms: float, utc_s: Callable[[], float]) -> None:
        self._wheel = Wheel(clock, TICK_S)
        self._pace_ms = pace_ms
        self._utc_s = utc_s
        self._numbers = count(1)

    def request(  # type: ignore[override]  # an Answer is an IResponse, but a Deferred of it does not pass for one
        self,
        method: bytes,
        uri: bytes,
        headers: WebHeaders | Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[Answer]:
        """Ask, and be answered as the model's name says; see `IAgent`."""
        body = sendable(bodyProducer)
        try:
            path = split_url(uri)[1].partition(b"?")[0]
        except InvalidField as error:
            return fail(error)
        if isinstance(body, HeldBody):
            return self._answered(path, body)
        taken = _Taken(body)
        return taken.begin().addCallback(lambda payload: self._answered(path, HeldBody(payload, body.sent)))

    def _answered(self, path: bytes, body: HeldBody) -> Deferred[Answer]:
        script, answer = reply(path, body.payload, Stamp(next(self._numbers), int(self._utc_s())))
        if script.connect_failed:
            return fail(ConnectFailed("the sandbox was asked to fail"))
        pace_ms = self._pace_ms if script.pace_ms is None else script.pace_ms
        play = _Play(self._wheel, script, answer, pace_ms / 1000)
        body.opened()
        return play.begin()


@implementer(IConsumer)
class _Taken:
    """
    Takes a streamed body as fast as it comes.

    Args:
        body: See there.
    """

    def __init__(self, body: StreamedBody) -> None:
        self._body = body
        self._kept = bytearray()

    def begin(self) -> Deferred[bytes]:
        """Start; the Deferred fires with the body's beginning when all of it has come, and stops it when cancelled."""
        self._body.flowing()
        taken: Deferred[bytes] = Deferred(lambda _: self._body.stopProducing())
        self._body.startProducing(self).addBoth(self._over, taken)
        return taken

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """The producer is known already."""

    def unregisterProducer(self) -> None:
        """Its Deferred tells its end."""

    def write(self, data: bytes) -> None:
        """A piece of the body."""
        self._kept += data[: READ_BYTES - len(self._kept)]

    def _over(self, failure: Failure | None, taken: Deferred[bytes]) -> None:
        self._body.finish()
        if failure is None:
            taken.callback(bytes(self._kept))
        else:
            taken.errback(failure)


class _Play:
    """
    One answer, chunk after chunk: the `Source` of an `Answer`.

    Args:
        wheel: Keeps the pace.
        script: Where to stop.
        answer: What to say.
        pace_s: Seconds between two chunks; at 0 they come at once.
    """

    def __init__(self, wheel: Wheel, script: Script, answer: Reply, pace_s: float) -> None:
        self._script = script
        self._reply = answer
        self._pace_s = pace_s
        self._timer = Timer(wheel, self._open)
        self._asked: Deferred[Answer] = Deferred(lambda _: self.abort())
        self._answer: Answer | None = None
        self._chunk = next(answer.chunks, None)
        self._told = 0
        self._paused = False

    def begin(self) -> Deferred[Answer]:
        """Start; the Deferred fires with the head."""
        if not self._script.hang:
            self._timer.reset(self._script.slow_ms / 1000)
        return self._asked

    def pause(self) -> None:
        """Say nothing."""
        self._paused = True
        self._timer.cancel()

    def resume(self) -> None:
        """Go on at the same pace."""
        if self._paused:
            self._paused = False
            self._timer.reset(self._pace_s)

    def abort(self) -> None:
        """Say nothing any more."""
        self._answer = None
        self._paused = True
        self._timer.cancel()

    def _open(self) -> None:
        self._timer.call = self._go_on
        self._answer = Answer(self, self._reply.status, self._reply.fields)
        self._asked.callback(self._answer)
        self._go_on()

    def _go_on(self) -> None:
        """Tell the next chunk, and the end right behind the last."""
        answer, script = self._answer, self._script
        while self._answer is not None and answer is not None and not self._paused:
            if self._told == script.stall_after:
                return
            if self._chunk is None or self._told == script.truncate_after:
                self._answer = None
                self._timer.cancel()
                answer.end(None if self._chunk is None else TruncatedStream())
                return
            chunk, self._chunk = self._chunk, next(self._reply.chunks, None)
            self._told += 1
            answer.feed(chunk)
            if self._pace_s and self._chunk is not None and not self._paused:
                self._timer.reset(self._pace_s)
                return

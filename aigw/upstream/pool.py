"""The connections to one provider's address."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.errors import ProviderFailed, ProviderQueueFull
from aigw.serving.wheel import Timer, Wheel
from aigw.upstream.ask import Ask
from aigw.upstream.connection import Connection
from aigw.upstream.reach import connect_failed
from aigw.upstream.request import Site
from aigw.upstream.settings import UpstreamSettings

# No server in use closes a connection that was idle for less: Node's and uvicorn's wait 5 s, the others longer.
WARM_S = 4.0


class Pool:
    """
    Hands each request a connection: one that is free, else a new one, else the next that becomes free.

    Args:
        place: Where the connections go.
        endpoint: Makes them.
        wheel: For the time that a connection may be idle.
        settings: See there.
    """

    _log = Logger()

    def __init__(self, place: Site, endpoint: IStreamClientEndpoint, wheel: Wheel, settings: UpstreamSettings) -> None:
        self.place = place
        self._endpoint = endpoint
        self._settings = settings
        self._idle_clock = Timer(wheel, self._drop_idle)
        self.seconds: Callable[[], float] = wheel.seconds
        self.later: Callable[[float, Callable[[], object]], Timer] = wheel.schedule
        self._attempts: set[Deferred[IProtocol]] = set()
        self._connections: set[Connection] = set()
        # The one used last is used next; so the first is the one that was idle longest.
        self._idle: list[Connection] = []
        self._waiting: deque[Ask] = deque()
        self._closing: Deferred[None] | None = None
        self._factory = Factory.forProtocol(lambda: Connection(self, place.secure, settings))
        self._factory.noisy = False

    @property
    def count(self) -> int:
        """Connections that are busy, idle or being made."""
        return len(self._connections) + len(self._attempts)

    @property
    def idle_count(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    # For the agent ----------------------------------------------------------------------------------------------------

    def take(self, ask: Ask) -> None:
        """Find a connection for a request, now or later."""
        if self._closing is not None:
            ask.fail(ProviderFailed("the gateway is stopping"))
        elif self._idle and not self._too_stale(ask):
            self._idle.pop().send(ask)
        elif self.count < self._settings.connections_per_host:
            self.again(ask)
        elif len(self._waiting) < self._settings.waiting_per_host:
            self._waiting.append(ask)
            ask.stop = lambda: self._waiting.remove(ask)
        else:
            ask.fail(ProviderQueueFull())

    def _too_stale(self, ask: Ask) -> bool:
        """Whether a request that can be sent only once had better get a new connection, and may have one."""
        if not ask.once or self.count >= self._settings.connections_per_host:
            return False
        return self.seconds() - self._idle[-1].free_since_s > WARM_S

    def close(self) -> Deferred[None]:
        """
        Close every connection, busy or not.

        Returns:
            Fires when the last one is gone.
        """
        if self._closing is None:
            self._closing = Deferred()
            self._idle_clock.cancel()
            while self._waiting:
                self._waiting.popleft().fail(ProviderFailed("the gateway is stopping"))
            for attempt in list(self._attempts):
                attempt.cancel()
            for connection in list(self._connections):
                connection.transport.abortConnection()
            self._check_closed()
        return self._closing

    def _check_closed(self) -> None:
        if self._closing is not None and not self.count and not self._closing.called:
            self._closing.callback(None)

    # For the connections: `Keeper` ------------------------------------------------------------------------------------

    def again(self, ask: Ask) -> None:
        """Make a new connection for a request."""
        attempt = self._endpoint.connect(self._factory)
        self._attempts.add(attempt)
        ask.stop = attempt.cancel
        attempt.addBoth(self._attempted, attempt, ask)
        attempt.addErrback(lambda failure: self._log.failure("A connection was not taken", failure=failure))

    def _attempted(self, result: IProtocol | Failure, attempt: Deferred[IProtocol], ask: Ask) -> None:
        self._attempts.discard(attempt)
        if isinstance(result, Connection):
            self._connections.add(result)
            result.adopt(ask)
        else:
            ask.fail(connect_failed(self.place.host, result.value if isinstance(result, Failure) else None))
            self._free()

    def unusable(self, ask: Ask, reason: BaseException | None) -> None:
        """TLS failed on a connection that was made for a request."""
        ask.fail(connect_failed(self.place.host, reason))

    def ready(self, connection: Connection) -> None:
        """A connection is free."""
        if self._waiting:
            connection.send(self._waiting.popleft())
        elif len(self._idle) < self._settings.idle_per_host and self._closing is None:
            connection.free_since_s = self.seconds()
            self._idle.append(connection)
            if not self._idle_clock.active:
                self._idle_clock.reset(self._settings.idle_s)
        else:
            connection.close()

    def lost(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
            if not self._idle:
                self._idle_clock.cancel()
        self._free()

    def _free(self) -> None:
        """There may be room for a connection more."""
        if self._waiting and self.count < self._settings.connections_per_host:
            self.again(self._waiting.popleft())
        self._check_closed()

    def _drop_idle(self) -> None:
        """Close what was idle too long, and look again when the next one will have been."""
        now_s = self.seconds()
        while self._idle and now_s - self._idle[0].free_since_s >= self._settings.idle_s:
            self._idle.pop(0).close()
        if self._idle:
            self._idle_clock.reset(self._idle[0].free_since_s + self._settings.idle_s - now_s)

"""
One connection to Redis that comes back by itself.

txredisapi speaks the protocol. What it leaves open is closed here: names and passwords are told to the server by
ourselves, so that no error of the library repeats them; the number and the bytes of commands under way are bounded; and
a server that has fallen silent costs its connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.errors import ConfigurationError, StateUnavailable
from aigw.state.redis_address import RedisAddress

CONNECT_S = 5.0
FIRST_RETRY_S = 0.05
LONGEST_RETRY_S = 2.0
# Much longer than any deadline: a late answer tells what to give back, a closed connection does not.
SILENT_S = 5.0
# A connection that nobody uses may have been forgotten on its way; it is better to know that before somebody waits.
IDLE_S = 15.0

# A server that is no longer, or not yet, the one to write to. Another connection may lead to the right one.
ELSEWHERE = ("READONLY", "LOADING", "MASTERDOWN")


def load_txredisapi(load: Callable[[str], Any] = import_module) -> Any:
    """
    The library, loaded only where Redis is asked for: it is an extra, and importing it takes the global reactor.

    Args:
        load: Imports a module by its name.
    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return load("txredisapi")
    except ImportError:
        text = "state: `redis` needs a package that is not installed: pip install 'aigw[redis]'"
        raise ConfigurationError([text]) from None


class RedisLink:
    """
    A connection, and the next one when it is lost.

    Args:
        reactor: Sockets and clock.
        address: For the greeting and for logs.
        endpoint: Leads there.
        library: See `load_txredisapi`.
        most: Commands that may be under way.

    Attributes:
        available: True while a connection stands and the server has let us in.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, address: RedisAddress, endpoint: IStreamClientEndpoint, library: Any, most: int
    ) -> None:
        self.available = False
        self._reactor = reactor
        self._address = address
        self._library = library
        self._most = most
        self._endpoint = endpoint
        self._protocol: Any = None
        self._stopped = False
        self._why = "Redis has not answered yet"
        self._running = 0
        self._answered_at = 0.0
        self._keeper: Deferred[None] | None = None
        self._watch = LoopingCall(self._check_silence)
        self._watch.clock = reactor

    def start(self) -> None:
        """Begin to connect. The server need not be there."""
        self._watch.start(SILENT_S / 5, now=False).addErrback(self._broken)
        self._keeper = Deferred.fromCoroutine(self._keep_open())
        self._keeper.addErrback(self._broken)

    async def stop(self) -> None:
        """Close; what is under way fails with StateUnavailable."""
        if self._watch.running:
            self._watch.stop()
        self._stopped = True
        if self._keeper is not None:
            self._keeper.cancel()
        self.available, self._why = False, "the connection to Redis was closed"
        self._drop(self._why)
        # Closed sockets leave the reactor in its next turn.
        await deferLater(self._reactor, 0)

    def command(self, *words: Any) -> Deferred[Any]:
        """
        Send a command.

        Args:
            words: Bytes, texts or numbers.
        Returns:
            The answer, with bytes for texts. Fails with StateUnavailable when there is no connection or it is lost, too
            many commands are under way, or the server refuses.
        """
        return self._ask(lambda protocol: protocol.execute_command(*words))

    def script(self, source: bytes, keys: Sequence[bytes], arguments: Sequence[Any]) -> Deferred[Any]:
        """
        Run a Lua script, by its digest where this connection has seen it; the library sends it anew when asked to.

        Args:
            source: The script.
            keys, arguments: `KEYS` and `ARGV`.
        Returns:
            As `command`.
        """
        return self._ask(lambda protocol: protocol.eval(source, keys, arguments))

    def _ask(self, ask: Callable[[Any], Deferred[Any]]) -> Deferred[Any]:
        if not self.available:
            return fail(StateUnavailable(self._why))
        if self._running >= self._most:
            return fail(StateUnavailable("as many commands are under way to Redis as may be"))
        if not self._running:
            self._answered_at = self._reactor.seconds()
        self._running += 1
        return maybeDeferred(ask, self._protocol).addCallbacks(self._answered, self._failed)

    def _answered(self, answer: Any) -> Any:
        self._running -= 1
        self._answered_at = self._reactor.seconds()
        return answer

    def _failed(self, failure: Failure) -> None:
        self._running -= 1
        self._answered_at = self._reactor.seconds()
        text = failure.getErrorMessage()
        if text.startswith(ELSEWHERE):
            self._drop(text)
        raise StateUnavailable(f"Redis: {text}")

    async def _keep_open(self) -> None:
        """Connect, serve, and begin again after a growing pause, until cancelled."""
        retry_s = FIRST_RETRY_S
        while True:
            protocol: Any = None
            try:
                protocol = await self._endpoint.connect(_Builder(self._reactor, self._library))
                self._protocol = protocol
                await self._greet(protocol)
                opened = self._reactor.seconds()
                self._open()
                await protocol.lost
                # One that is dropped as soon as it is used must not be made twenty times a second.
                if self._reactor.seconds() - opened > LONGEST_RETRY_S:
                    retry_s = FIRST_RETRY_S
                self._drop(protocol.why)
            except CancelledError:
                raise
            except Exception as error:
                if self._stopped:
                    # An endpoint has an error of its own for a connection that was cancelled.
                    return
                # The library only knows that the connection was lost; the connection knows why.
                self._drop((protocol.why if protocol else "") or str(error) or type(error).__name__)
            await deferLater(self._reactor, retry_s)
            retry_s = min(retry_s * 2, LONGEST_RETRY_S)

    async def _greet(self, protocol: Any) -> None:
        """Say who we are and which database is meant. A server that does not answer is given up."""
        overdue = self._reactor.callLater(CONNECT_S, protocol.transport.abortConnection)
        address = self._address
        try:
            if address.password is not None:
                user = () if address.user is None else (address.user,)
                await protocol.execute_command("AUTH", *user, address.password)
            await protocol.execute_command("SELECT", address.db)
        finally:
            if overdue.active():
                overdue.cancel()

    def _open(self) -> None:
        self._running = 0
        self._answered_at = self._reactor.seconds()
        self.available = True
        self._log.info("Redis is in reach: {address}", address=str(self._address))

    def _drop(self, why: str) -> None:
        """Have no connection; the keeper makes another one."""
        if self.available or why != self._why:
            self._log.warn("Redis is out of reach: {address}: {why}", address=str(self._address), why=why)
        self._why = why
        self.available = False
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.transport.abortConnection()

    def _check_silence(self) -> None:
        silent_s = self._reactor.seconds() - self._answered_at
        if self.available and self._running and silent_s > SILENT_S:
            self._drop("Redis does not answer")
        elif self.available and not self._running and silent_s > IDLE_S:
            self.command("PING").addErrback(lambda failure: failure.trap(StateUnavailable))

    def _broken(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("A defect in the connection to Redis", failure)


class _Builder(Factory):
    """Makes the library's protocol tell when it is lost."""

    noisy = False

    def __init__(self, reactor: Any, library: Any) -> None:
        self._reactor = reactor
        self._library = library

    def buildProtocol(self, addr: Any) -> Any:
        """See `Factory`."""
        lost: Deferred[None] = Deferred(lambda _: None)

        class Protocol(self._library.RedisProtocol):  # type: ignore[name-defined,misc]  # the library has no types
            """As the library's, with the reactor of ours."""

            # Answers that hold bytes go through a timer, which would otherwise be the global reactor's.
            callLater = self._reactor.callLater

            def connectionLost(self, reason: Failure) -> None:
                """See `Protocol`."""
                # First, so that nobody who is told of a lost answer asks this connection again.
                protocol.why = _reason(reason)
                if not lost.called:
                    lost.callback(None)
                super().connectionLost(reason)

        protocol = Protocol(charset=None, convertNumbers=False)
        protocol.factory = self
        protocol.lost = lost
        protocol.why = ""
        return protocol


def _reason(failure: Failure) -> str:
    """Why a connection was lost, also where TLS was in the way."""
    return str(failure.value) or type(failure.value).__name__

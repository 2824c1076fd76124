"""The clients of the storm: they come back after each kill, and some of them hang up."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from tests.integration.crash.provider import HEADER
from tests.integration.crash.tally import SPOOL_FULL, Final, Tally

PROVIDER = "custom-storm"
SOCKETS = 6
IN_FLIGHT = 5
TICK_S = 0.05
HANG_UP = 0.04  # share of ticks in which a client leaves in the middle
HEAVY = 0.3  # share of requests that fill the disk
HEAVY_BYTES = (100_000, 700_000)
KINDS = ("stream",) * 5 + ("whole",) * 4 + ("error", "cut")


class Crew:
    """
    All clients.

    Args:
        reactor: Connects.
        random: Decides.
        tally: Gets what was asked and answered.
        name: Begins every event id.
    """

    def __init__(self, reactor: Any, random: Random, tally: Tally, name: str) -> None:
        self.random = random
        self.tally = tally
        self.sockets: list[StormSocket] = []
        self.asking = False
        self._reactor = reactor
        self._name = name
        self._connecting = 0
        self._factory: StormFactory | None = None
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = reactor

    @property
    def in_flight(self) -> int:
        """Requests without an ending, on all sockets."""
        return sum(len(socket.expected) for socket in self.sockets)

    def begin(self, url: str, token: str) -> None:
        """A gateway is there: connect and ask."""
        self._factory = StormFactory(self, url, token)
        self.asking = True
        if not self._ticks.running:
            self._ticks.start(TICK_S).addErrback(self._stumbled)

    def _stumbled(self, failure: Failure) -> None:
        self.tally.garbled.append(f"the clients stopped: {failure.getTraceback()}")

    def lost(self) -> None:
        """The gateway is gone: connect nowhere until the next one is there."""
        self._factory = None

    def end(self) -> None:
        """Leave."""
        self.asking = False
        self._factory = None
        if self._ticks.running:
            self._ticks.stop()
        for socket in self.sockets:
            socket.transport.abortConnection()

    def _tick(self) -> None:
        factory = self._factory
        if factory is not None and self.asking and len(self.sockets) + self._connecting < SOCKETS:
            self._connecting += 1
            self._reactor.connectTCP(*factory.address, factory)
        for socket in self.sockets:
            # A closing handshake, or a kill that no event has told yet.
            while self.asking and socket.state == socket.STATE_OPEN and len(socket.expected) < IN_FLIGHT:
                socket.ask(*self._request())
        if self.asking and self.sockets and self.random.random() < HANG_UP:
            leaver = self.random.choice(self.sockets)
            if self.random.random() < 0.5:
                leaver.transport.abortConnection()
            else:
                leaver.sendClose()

    def _request(self) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
        """A new request: its event id, what is to come back, and its steps."""
        random = self.random
        self.tally.asked += 1
        name = f"{self._name}-{self.tally.asked}"
        heavy = random.random() < HEAVY
        answer = {
            "kind": random.choice(KINDS),
            "events": random.randint(1, 25),
            "pace_s": random.uniform(0.0, 0.05),
            "padding": random.randint(*HEAVY_BYTES) if heavy else 10,
        }
        steps = [_step(name, answer)]
        if random.random() < 0.1:
            steps.insert(0, _step(name, {**answer, "kind": "error"}))
        return name, answer, steps

    # Told by the sockets ----------------------------------------------------------------------------------------------

    def opened(self, socket: StormSocket) -> None:
        """A handshake is done."""
        self._connecting -= 1
        self.sockets.append(socket)

    def failed(self) -> None:
        """A handshake or a connection came to nothing."""
        self._connecting -= 1


def _step(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    query = {"stream": answer["kind"] in ("stream", "cut"), "storm": answer, "padding": "x" * answer["padding"]}
    return {"provider": PROVIDER, "endpoint": "chat/completions", "headers": {HEADER: name}, "query": query}


class StormSocket(WebSocketClientProtocol):  # type: ignore[misc]  # Autobahn's classes are untyped
    """
    One connection.

    Attributes:
        expected: What is still to come: number of events seen, and the answer asked for, by event id.
    """

    factory: StormFactory

    def connectionMade(self) -> None:
        """See `Protocol`."""
        self.expected: dict[str, list[Any]] = {}
        self._opened = False
        super().connectionMade()

    def onOpen(self) -> None:
        """The handshake is done."""
        self._opened = True
        self.factory.crew.opened(self)

    def ask(self, name: str, answer: dict[str, Any], steps: list[dict[str, Any]]) -> None:
        """Send a request."""
        steps[0]["eventId"] = name
        self.expected[name] = [0, answer]
        message = {"type": "universal.create", "request": steps if len(steps) > 1 else steps[0]}
        self.sendMessage(json.dumps(message).encode())

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Check what came, and note each ending."""
        tally = self.factory.crew.tally
        message = json.loads(payload)
        name = message["metadata"]["eventId"]
        if name not in self.expected:
            tally.garbled.append(f"{name}: a message after its end, or of nobody's request")
            return
        events, answer = expected = self.expected[name]
        response = message.get("response")
        if message["type"] == "universal.stream":
            expected[0] += 1
            if response != {"id": name, "number": events}:
                tally.garbled.append(f"{name}: event {events} was {payload[:200]!r}")
        elif message["type"] == "universal.done":
            complete = message["metadata"]["complete"]
            if complete and events != answer["events"]:
                tally.garbled.append(f"{name}: {events} of {answer['events']} events, and called complete")
            self._ended(name, message, complete)
        elif response is not None:
            ours = response.get("name") == "AiGatewayError"
            if not ours and response.get("id") != name:
                tally.garbled.append(f"{name}: the answer was {payload[:200]!r}")
            if ours and response["internalCode"] == SPOOL_FULL:
                tally.refused += 1
                del self.expected[name]
            else:
                self._ended(name, message, not ours)

    def _ended(self, name: str, message: dict[str, Any], complete: bool) -> None:
        del self.expected[name]
        self.factory.crew.tally.note_final(name, Final(message["metadata"]["logId"], complete))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The gateway was killed, or we left."""
        crew = self.factory.crew
        if self in crew.sockets:
            crew.sockets.remove(self)
        elif not self._opened:
            crew.failed()
        super().connectionLost(reason)


class StormFactory(WebSocketClientFactory):  # type: ignore[misc]  # Autobahn's classes are untyped
    """
    Connects to one life of the gateway.

    Args:
        crew: See there.
        url: Of the gateway.
        token: To call with.
    """

    protocol = StormSocket
    noisy = False

    def __init__(self, crew: Crew, url: str, token: str) -> None:
        super().__init__(url, headers={"cf-aig-authorization": f"Bearer {token}"})
        self.crew = crew
        self.address = (self.host, self.port)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Nobody listens."""
        self.crew.failed()

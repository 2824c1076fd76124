"""What balancers and Prometheus ask."""

from __future__ import annotations

import json
from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from aigw.interfaces import ILogSink
from aigw.logs.stats import LogStats
from aigw.operations.meter import Meter
from aigw.operations.metrics import Levels, Metrics
from aigw.operations.resources import Operations, Readiness
from aigw.serving.http import Server
from aigw.serving.limits import HttpLimits
from aigw.serving.wheel import Wheel
from aigw.values.record import Begin, End


@implementer(ILogSink)
class Sink:
    """A spool whose room is switched by hand."""

    accepting = True

    def begin(self, record: Begin, safe: Callable[[], None]) -> None:
        raise NotImplementedError

    def end(self, record: End, safe: Callable[[], None]) -> None:
        raise NotImplementedError


class OperationsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sink = Sink()
        self.draining = False
        levels = Levels(lambda: 0, lambda: 0, lambda: True, lambda: True, lambda: 0)
        metrics = Metrics(Meter(["openai"]), LogStats(), levels, "0.1.0")
        root = Operations(Readiness(lambda: self.draining, self.sink), metrics)
        clock = Clock()
        self.server = Server(root, clock, Wheel(clock), HttpLimits())

    def get(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        """Status, head and body of the answer."""
        channel = self.server.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(f"{method} {path} HTTP/1.1\r\nHost: aigw\r\n\r\n".encode())
        head, _, body = transport.value().decode().partition("\r\n\r\n")
        return int(head.split()[1]), head.lower(), body

    def test_health(self) -> None:
        """The process is healthy for as long as it answers, also while it drains."""
        self.draining = True
        status, _, body = self.get("/health")
        self.assertEqual((status, json.loads(body)), (200, {"status": "ok"}))
        self.assertEqual(self.get("/health", "HEAD")[::2], (200, ""))

    def test_ready(self) -> None:
        """A balancer sends requests here while they are taken."""
        status, _, body = self.get("/ready")
        self.assertEqual((status, json.loads(body)), (200, {"ready": True, "reasons": [], "degraded": []}))

    def test_not_ready(self) -> None:
        """A gateway that drains, or whose spool is full, says so with every reason, and comes back by itself."""
        self.draining, self.sink.accepting = True, False
        status, _, body = self.get("/ready")
        self.assertEqual(status, 503)
        self.assertEqual(json.loads(body)["reasons"], ["draining", "the spool takes no records"])
        self.draining, self.sink.accepting = False, True
        self.assertEqual(self.get("/ready")[0], 200)

    def test_metrics(self) -> None:
        """Prometheus gets its own text format."""
        status, head, body = self.get("/metrics")
        self.assertEqual(status, 200)
        self.assertIn("content-type: text/plain; version=0.0.4", head)
        self.assertIn('aigw_info{version="0.1.0"} 1.0', body)

    def test_nothing_else(self) -> None:
        """Other addresses and methods are refused in JSON where a person looks, and change nothing."""
        status, head, body = self.get("/nothing")
        self.assertEqual((status, json.loads(body)["success"]), (404, False))
        self.assertIn("content-type: application/json", head)
        self.assertEqual(self.get("/health", "POST")[0], 405)

"""`/health`, `/ready` and `/metrics`, for the control port."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import msgspec
from twisted.web.resource import Resource
from twisted.web.server import Request

from aigw.errors import NotFound
from aigw.interfaces import ILogSink
from aigw.operations.metrics import CONTENT_TYPE, Metrics
from aigw.serving.http import answer_json, refuse


@attrs.frozen
class Readiness:
    """
    Whether new requests would be taken.

    The database is not asked: without it the gateway serves and spools, so a balancer must not turn away from it.

    Attributes:
        draining: Whether the process is about to stop.
        sink: Where logs are made safe.
        degraded: What does not work while requests are taken all the same, such as a store of counters: whether they
            pass without it is the owner's choice for each control.
    """

    draining: Callable[[], bool]
    sink: ILogSink
    degraded: Callable[[], list[str]] = list

    def reasons(self) -> list[str]:
        """Why not; empty when ready."""
        reasons = []
        if self.draining():
            reasons.append("draining")
        if not self.sink.accepting:
            reasons.append("the spool takes no records")
        return reasons


class Health(Resource):
    """200 for as long as the process can answer at all."""

    isLeaf = True

    def render_GET(self, request: Request) -> int:
        """Answers without looking at anything, so that only a process that hangs is restarted."""
        return answer_json(request, 200, b'{"status":"ok"}')


class Ready(Resource):
    """
    200 while new requests are taken, 503 with the reasons while they are not.

    Args:
        readiness: See there.
    """

    isLeaf = True

    def __init__(self, readiness: Readiness) -> None:
        super().__init__()
        self._readiness = readiness

    def render_GET(self, request: Request) -> int:
        """For balancers."""
        reasons = self._readiness.reasons()
        told = {"ready": not reasons, "reasons": reasons, "degraded": self._readiness.degraded()}
        return answer_json(request, 503 if reasons else 200, msgspec.json.encode(told))


class MetricsPage(Resource):
    """
    The counters, for Prometheus.

    Args:
        metrics: See there.
    """

    isLeaf = True

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    def render_GET(self, request: Request) -> bytes:
        """The page in text format."""
        request.setHeader("content-type", CONTENT_TYPE)
        request.setHeader("cache-control", "no-store")
        return self._metrics.render()


class Operations(Resource):
    """
    The control port's pages for machines.

    Args:
        readiness, metrics: See there.
    """

    def __init__(self, readiness: Readiness, metrics: Metrics) -> None:
        super().__init__()
        self.putChild(b"health", Health())
        self.putChild(b"ready", Ready(readiness))
        self.putChild(b"metrics", MetricsPage(metrics))

    def getChild(self, path: bytes, request: Request) -> Resource:
        """Whatever is not there is told in JSON, as everywhere else."""
        return _Nothing()


class _Nothing(Resource):
    isLeaf = True

    def render(self, request: Request) -> int:
        return refuse(request, NotFound())

"""Finds out whether a silent store has found its tongue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.errors import StateUnavailable
from aigw.state.deadlines import Deadlines

PROBE_S = 0.25


class Probe:
    """
    Asks a silent store something, one question at a time.

    Args:
        clock: For the pace.
        deadlines: Of the store; an answer ends its silence there.
        ask: Asks the store anything.
    """

    _log = Logger()

    def __init__(self, clock: Any, deadlines: Deadlines, ask: Callable[[], Deferred[Any]]) -> None:
        self._deadlines = deadlines
        self._ask = ask
        self._asking = False
        self._pace = LoopingCall(self._look)
        self._pace.clock = clock

    def start(self) -> None:
        """Begin to watch."""
        self._pace.start(PROBE_S, now=False).addErrback(self._broken)

    def stop(self) -> None:
        """Stop watching."""
        if self._pace.running:
            self._pace.stop()

    def _look(self) -> None:
        if self._deadlines.silent and not self._asking:
            self._asking = True
            self._ask().addCallbacks(self._answered, self._failed).addErrback(self._broken)

    def _answered(self, _: Any) -> None:
        self._asking = False
        self._deadlines.silent = False

    def _failed(self, failure: Failure) -> None:
        self._asking = False
        failure.trap(StateUnavailable)

    def _broken(self, failure: Failure) -> None:
        self._log.failure("A defect in asking a silent store", failure)

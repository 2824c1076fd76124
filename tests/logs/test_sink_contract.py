"""What every log sink promises; the spool and the one for tests keep the same promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aigw.errors import SpoolFull
from aigw.interfaces import ILogSink
from aigw.testing.logs import FullDisk, MemoryLogSink
from tests.logs.records import Records, SpoolCase


class SinkContract:
    """The promises. A subclass gives the sink."""

    sink: Any
    turn: Callable[[], None]
    fill: Callable[[], None]

    def setUp(self) -> None:
        """Make the sink, and a list of what was released."""
        self.records = Records()
        self.safe: list[str] = []
        self.make()

    def make(self) -> None:
        """Set `sink`, `turn` and `fill`."""
        raise NotImplementedError

    def test_interface(self: Any) -> None:
        """It has all that the rest of the gateway calls."""
        verifyObject(ILogSink, self.sink)

    def test_nothing_is_released_in_the_same_turn(self: Any) -> None:
        """A final frame never leaves before its record."""
        begin = self.records.begin()
        self.sink.begin(begin, lambda: self.safe.append("begin"))
        self.sink.end(self.records.end(begin), lambda: self.safe.append("end"))
        self.assertEqual(self.safe, [])

    def test_released_once_and_in_order(self: Any) -> None:
        """Who wrote first is released first, and nobody twice."""
        begins = [self.records.begin() for _ in range(3)]
        for index, begin in enumerate(begins):
            self.sink.begin(begin, lambda index=index: self.safe.append(f"begin {index}"))
        self.sink.end(self.records.end(begins[1]), lambda: self.safe.append("end 1"))
        for _ in range(3):
            self.turn()
        self.assertEqual(self.safe, ["begin 0", "begin 1", "begin 2", "end 1"])

    def test_a_release_may_write_again(self: Any) -> None:
        """An exchange that ends as soon as it has begun is released after its own record, not with the first."""
        begin = self.records.begin()

        def end() -> None:
            self.sink.end(self.records.end(begin), lambda: self.safe.append("end"))
            self.safe.append("asked")

        self.sink.begin(begin, end)
        self.sink.begin(self.records.begin(), lambda: self.safe.append("other"))
        self.turn()
        self.turn()
        self.assertEqual(self.safe, ["asked", "other", "end"])

    def test_record_without_a_begin(self: Any) -> None:
        """An exchange that asked no provider is one record, released like any other end."""
        self.sink.alone(self.records.end(self.records.begin()), lambda: self.safe.append("alone"))
        self.assertEqual(self.safe, [])
        self.turn()
        self.assertEqual(self.safe, ["alone"])

    def test_full(self: Any) -> None:
        """With no room, a new request is refused and running ones still end."""
        begin = self.records.begin()
        self.sink.begin(begin, lambda: None)
        self.turn()
        self.assertTrue(self.sink.accepting)
        self.fill()
        self.assertFalse(self.sink.accepting)
        with self.assertRaises(SpoolFull):
            self.sink.begin(self.records.begin(), lambda: self.safe.append("refused"))
        with self.assertRaises(SpoolFull):
            self.sink.alone(self.records.end(self.records.begin()), lambda: self.safe.append("refused"))
        self.sink.end(self.records.end(begin), lambda: self.safe.append("end"))
        self.turn()
        self.assertEqual(self.safe, ["end"])


class MemoryTests(SinkContract, SynchronousTestCase):
    """The sink for tests."""

    def make(self) -> None:
        """See `SinkContract`."""
        clock = Clock()
        self.sink = MemoryLogSink(clock)
        self.turn = lambda: clock.advance(0)
        self.fill = lambda: setattr(self.sink, "accepting", False)


class SpoolTests(SinkContract, SynchronousTestCase):
    """The spool."""

    def make(self) -> None:
        """See `SinkContract`."""
        disk = FullDisk(room_bytes=65_536)
        case = SpoolCase(Path(self.mktemp()), volume=disk)
        self.sink, self.turn = case.spool, case.turn

        def fill() -> None:
            while case.spool.accepting:
                try:
                    case.spool.begin(self.records.begin(), lambda: None)
                except SpoolFull:
                    break
            case.turn()

        self.fill = fill

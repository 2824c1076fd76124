"""What is compiled from settings."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.snapshots import Compiled
from aigw.values.gateway import Gateway


class CompiledTests(SynchronousTestCase):
    def test_once_for_each_snapshot(self) -> None:
        """Settings are compiled when they change, not with every request."""
        made: list[Gateway] = []
        compiled: Compiled[Gateway, int] = Compiled(lambda gateway: made.append(gateway) or len(made))
        one, equal = Gateway(id="a"), Gateway(id="a")
        self.assertEqual([compiled.of(each) for each in (one, one, equal, one)], [1, 1, 2, 1])

    def test_bounded(self) -> None:
        """Settings that are long replaced do not stay for ever."""
        compiled: Compiled[Gateway, Gateway] = Compiled(lambda gateway: gateway, kept=3)
        for number in range(10):
            gateway = Gateway(id=str(number))
            self.assertIs(compiled.of(gateway), gateway)
        self.assertEqual(len(compiled), 3)

from __future__ import annotations

from collections.abc import Sequence
from signal import SIGKILL
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from aigw.settings import Settings
from aigw.workers.messages import (
    REPORTS,
    Drain,
    Failed,
    Frames,
    Serving,
    Tell,
    ToParent,
    ToWorker,
    Welcome,
    framed,
    to_worker,
)
from aigw.workers.process import WorkerProcess
from aigw.workers.reports import Report
from aigw.workers.supervisor import CLOSING_S, LONGEST_PAUSE_S, SOUND_S, START_S, Supervisor, WorkerFailed

DRAIN_S = 10.0


class Running:
    """A worker as its parent sees it: a transport whose process the test plays."""

    pid = 0

    def __init__(self, protocol: WorkerProcess) -> None:
        self.protocol = protocol
        self.told: list[ToWorker] = []
        self._frames = Frames()

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        """See `IProcessTransport`."""
        self.told += [to_worker.decode(payload) for payload in self._frames.feed(data)]

    def say(self, message: ToParent) -> None:
        """Have it tell its parent something."""
        self.protocol.childDataReceived(REPORTS, framed(message))

    def end(self, signal: int | None = None, code: int = 0) -> None:
        """End it."""
        reason = ProcessTerminated(code or None, signal) if signal or code else ProcessDone(0)
        self.protocol.processEnded(Failure(reason))


class Machine(Clock):
    """Runs processes that do nothing by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Running] = []

    def spawnProcess(self, protocol: WorkerProcess, *args: Any, **options: Any) -> None:
        """See `IReactorProcess`."""
        running = Running(protocol)
        self.processes.append(running)
        protocol.makeConnection(running)  # type: ignore[arg-type]  # enough of a transport


class SupervisorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.machine = Machine()
        self.failures: list[Failure] = []
        self.adopted = 0
        self.supervisor = Supervisor(
            *(self.machine, 2, ["python"], {}, lambda: Welcome(Settings(), (), (), "")),
            *(self.failures.append, self.adopt),
        )

    def adopt(self) -> None:
        """Called for the spool of each worker that is gone."""
        self.adopted += 1

    def serving(self) -> Sequence[Running]:
        """Start both, and have them serve."""
        started = self.supervisor.start([])
        for worker in self.machine.processes:
            worker.say(Serving())
        self.successResultOf(started)
        return self.machine.processes

    def report(self, asked: int) -> Report:
        """Of a worker that is well."""
        return Report(asked, (), (), True, 0, {}, ())

    def test_start(self) -> None:
        """The gateway is there when both workers serve; each was told its settings first."""
        started = self.supervisor.start([])
        first, second = self.machine.processes
        self.assertIsInstance(first.told[0], Welcome)
        first.say(Serving())
        self.assertNoResult(started)
        second.say(Serving())
        self.successResultOf(started)

    def test_a_worker_that_cannot_start(self) -> None:
        """When a worker cannot start, the start fails with its reason."""
        started = self.supervisor.start([])
        self.machine.processes[0].say(Serving())
        self.machine.processes[1].say(Failed("no room on the disk"))
        self.machine.processes[1].end(code=1)
        self.assertEqual(str(self.failureResultOf(started, WorkerFailed).value), "no room on the disk")

    def test_another_takes_its_place(self) -> None:
        """A worker that dies is replaced at once, and after longer and longer pauses when that goes on."""
        self.serving()
        pauses: list[float] = []
        for _ in range(12):
            count, died_s = len(self.machine.processes), self.machine.seconds()
            self.machine.processes[-1].end(SIGKILL)
            while len(self.machine.processes) == count:
                self.machine.advance(0.1)
            pauses.append(round(self.machine.seconds() - died_s, 1))
            self.machine.processes[-1].say(Serving())
        self.assertLess(pauses[0], 0.3)
        self.assertEqual(pauses, sorted(pauses))
        self.assertLess(pauses[-1], LONGEST_PAUSE_S + 0.3)
        self.assertEqual((self.supervisor.restarts, self.adopted), (12, 12))
        self.machine.advance(SOUND_S)
        self.machine.processes[-1].end(SIGKILL)
        self.machine.advance(0.2)
        self.assertEqual(len(self.machine.processes), 15)
        self.flushLoggedErrors()

    def test_nobody_left(self) -> None:
        """When no worker is left and the next cannot start either, the gateway ends with the reason."""
        first, second = self.serving()
        first.end(SIGKILL)
        second.end(SIGKILL)
        self.machine.advance(0.2)
        third, fourth = self.machine.processes[2:]
        third.say(Failed("the disk is gone"))
        third.end(code=1)
        self.assertEqual(self.failures, [])
        fourth.say(Failed("the disk is gone"))
        fourth.end(code=1)
        self.assertEqual([str(failure.value) for failure in self.failures], ["the disk is gone"])

    def test_drain(self) -> None:
        """All are told to finish, and waited for; nobody takes the place of who ends."""
        first, second = self.serving()
        drained = self.supervisor.drain(DRAIN_S)
        self.assertIsInstance(first.told[-1], Drain)
        first.end()
        self.machine.advance(1)
        self.assertNoResult(drained)
        second.end()
        self.successResultOf(drained)
        self.machine.advance(DRAIN_S + CLOSING_S + START_S)
        self.assertEqual(len(self.machine.processes), 2)
        self.assertEqual(self.machine.getDelayedCalls(), [])

    def test_drain_between_two(self) -> None:
        """A worker that is about to be started is not, once the gateway ends."""
        first, second = self.serving()
        first.end(SIGKILL)
        drained = self.supervisor.drain(DRAIN_S)
        second.end()
        self.successResultOf(drained)
        self.machine.advance(LONGEST_PAUSE_S)
        self.assertEqual(len(self.machine.processes), 2)

    def test_asking(self) -> None:
        """A page is answered when both have reported; one that hangs costs a second, one that dies none."""
        first, second = self.serving()
        asked = self.supervisor.ask()
        also = self.supervisor.ask()
        first.say(self.report(1))
        self.assertNoResult(asked)
        second.say(self.report(1))
        self.successResultOf(asked)
        self.successResultOf(also)
        self.assertEqual([message for message in first.told if isinstance(message, Tell)], [Tell(1)])
        asked = self.supervisor.ask()
        first.say(self.report(2))
        self.machine.advance(1)
        self.successResultOf(asked)
        asked = self.supervisor.ask()
        first.say(self.report(3))
        second.end(SIGKILL)
        self.successResultOf(asked)

    def test_problems(self) -> None:
        """What is not as it should be is told by worker."""
        first, second = self.serving()
        for worker in (first, second):
            worker.say(self.report(0))
        self.assertEqual(self.supervisor.problems(), [])
        second.end(SIGKILL)
        self.assertEqual(self.supervisor.problems(), ["worker 2 is gone"])
        self.machine.advance(0.2)
        self.assertEqual(self.supervisor.problems(), ["worker 2 is being started"])
        self.machine.advance(10)
        self.assertIn("worker 1 does not answer", self.supervisor.problems())

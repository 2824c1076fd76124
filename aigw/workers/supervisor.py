"""Starts workers, starts them again when they die, and ends them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from signal import SIGKILL
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from aigw.errors import AigwError
from aigw.workers.asking import Asking
from aigw.workers.messages import FIRST_SOCKET, REPORTS, Drain, Failed, Serving, ToParent, ToWorker, Welcome
from aigw.workers.process import Standing, WorkerProcess
from aigw.workers.reports import Family, Report, families_of, only_grown, summed

# A worker that has lived so long had no trouble that a pause would help with.
SOUND_S = 30.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
# Reading the copies on disk and importing takes a second; a machine with much else to do takes longer.
START_S = 60.0
# Beyond `drain_s`: for the sockets to close, and for the logs to be shipped.
CLOSING_S = 12.0
# Workers report every second; so late means that its reactor stands still.
SILENT_S = 5.0


class WorkerFailed(AigwError):
    """A worker cannot run, and no other does; the text says why."""


class Supervisor:
    """
    Keeps so many workers running.

    Args:
        reactor: Runs processes, and the clock.
        count: How many.
        command: Of a worker.
        environ: Its environment.
        welcome: What each is told first.
        give_up: Called with the reason when there is no worker, and there will be none.
        ended: Called after each worker that is gone, for what it leaves behind.

    Attributes:
        restarts: Workers that were started in place of others.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        count: int,
        command: Sequence[str],
        environ: dict[str, str],
        welcome: Callable[[], Welcome],
        give_up: Callable[[Failure], None],
        ended: Callable[[], None],
    ) -> None:
        self.restarts = 0
        self._reactor = reactor
        self._command = list(command)
        self._environ = environ
        self._welcome = welcome
        self._give_up = give_up
        self._on_ended = ended
        self._descriptors: Sequence[int] = ()
        self._processes: dict[int, WorkerProcess | None] = dict.fromkeys(range(1, count + 1))
        self._began_s: dict[int, float] = {}
        self._pauses_s: dict[int, float] = {}
        self._calls: dict[int, IDelayedCall] = {}
        self._reported_s: dict[int, float] = {}
        # What those that are gone have counted.
        self._bygone: tuple[Family, ...] = ()
        self._starting: Deferred[None] | None = None
        self._stopping: Deferred[None] | None = None
        self._asking = Asking(reactor)

    # Starting -------------------------------------------------------------------------------------------------------

    def start(self, descriptors: Sequence[int]) -> Deferred[None]:
        """
        Start all of them.

        Args:
            descriptors: Sockets that they get, from `FIRST_SOCKET` on.
        Returns:
            Fires when all serve.
        Raises:
            WorkerFailed: One cannot.
        """
        self._descriptors = descriptors
        self._starting = Deferred()
        for number in self._processes:
            self._spawn(number)
        return self._starting

    def _spawn(self, number: int) -> None:
        process = WorkerProcess(number, self._heard, self._ended)
        self._processes[number] = process
        self._began_s[number] = self._reactor.seconds()
        files: dict[int, int | str] = {0: "w", 1: "r", 2: "r", REPORTS: "r"}
        files.update((FIRST_SOCKET + index, descriptor) for index, descriptor in enumerate(self._descriptors))
        try:
            self._reactor.spawnProcess(process, self._command[0], self._command, env=self._environ, childFDs=files)
        except OSError as error:
            process.why = f"it could not be started: {error.strerror}"
            self._call(number, 0, lambda: self._ended(process))
            return
        process.send(self._welcome())
        self._call(number, START_S, lambda: process.kill(SIGKILL))

    def _call(self, number: int, after_s: float, call: Callable[[], None]) -> None:
        """The one thing that a worker's place waits for, in place of what it waited for before."""
        self._call_off(number)
        self._calls[number] = self._reactor.callLater(after_s, call)

    def _call_off(self, number: int) -> None:
        call = self._calls.pop(number, None)
        if call is not None and call.active():
            call.cancel()

    def _heard(self, process: WorkerProcess, message: ToParent) -> None:
        if isinstance(message, Serving):
            process.served = True
            if process.standing is Standing.STARTING:
                self._call_off(process.number)
                process.standing = Standing.SERVING
            self._tell_started()
        elif isinstance(message, Failed):
            process.why = message.text
        elif isinstance(message, Report):
            process.report = message
            self._reported_s[process.number] = self._reactor.seconds()
            self._asking.answered(process, message.round)

    def _tell_started(self) -> None:
        starting = self._starting
        if starting is not None and len(self.serving()) == len(self._processes):
            self._starting = None
            starting.callback(None)

    # Ending ---------------------------------------------------------------------------------------------------------

    def _ended(self, process: WorkerProcess) -> None:
        number = process.number
        self._call_off(number)
        self._asking.left(process)
        if process.report is not None:
            self._bygone = families_of(summed([self._bygone, only_grown(process.report.families)]))
        self._processes[number] = None
        self._on_ended()
        if self._stopping is not None:
            self._tell_stopped()
        elif self._starting is not None:
            starting, self._starting = self._starting, None
            starting.errback(WorkerFailed(process.why))
        else:
            self._replace(process)

    def _replace(self, process: WorkerProcess) -> None:
        number = process.number
        lived_s = self._reactor.seconds() - self._began_s[number]
        pause_s = FIRST_PAUSE_S if lived_s >= SOUND_S else self._pauses_s.get(number, FIRST_PAUSE_S)
        self._pauses_s[number] = min(2 * pause_s, LONGEST_PAUSE_S)
        self._log.error(
            "Worker {number} is gone: {why}; another is started in {pause_s} s",
            number=number,
            why=process.why,
            pause_s=pause_s,
        )
        if not process.served and not any(self._processes.values()):
            self._give_up(Failure(WorkerFailed(process.why)))
            return
        self.restarts += 1
        self._call(number, pause_s, lambda: self._spawn(number))

    def drain(self, drain_s: float) -> Deferred[None]:
        """
        Let all finish, and end.

        Args:
            drain_s: What requests get; workers know it, too. Who is still there some seconds later is killed.
        Returns:
            Fires when all are gone.
        """
        stopping = self._stopping = Deferred()
        self._starting = None
        for number, process in self._processes.items():
            if process is not None:
                process.standing = Standing.LEAVING
                process.send(Drain())
                self._call(number, drain_s + CLOSING_S, lambda left=process: left.kill(SIGKILL))  # type: ignore[misc]
            else:
                self._call_off(number)
        self._tell_stopped()
        return stopping

    def _tell_stopped(self) -> None:
        stopping = self._stopping
        if stopping is not None and not stopping.called and not any(self._processes.values()):
            stopping.callback(None)

    # Talking --------------------------------------------------------------------------------------------------------

    def tell(self, message: ToWorker) -> None:
        """Send a message to all that have been started."""
        for process in self.processes():
            process.send(message)

    def ask(self) -> Deferred[None]:
        """See `Asking.ask`."""
        return self._asking.ask([each for each in self.processes() if each.standing is not Standing.STARTING])

    # How it goes ----------------------------------------------------------------------------------------------------

    def processes(self) -> list[WorkerProcess]:
        """Those that there are."""
        return [process for process in self._processes.values() if process is not None]

    def serving(self) -> list[WorkerProcess]:
        """Those that accept connections."""
        return [process for process in self.processes() if process.standing is Standing.SERVING]

    def reports(self) -> list[Report]:
        """The last of each that there is."""
        return [process.report for process in self.processes() if process.report is not None]

    def bygone(self) -> tuple[Family, ...]:
        """What those that are gone had counted."""
        return self._bygone

    def problems(self) -> list[str]:
        """What is not as it should be, by worker."""
        problems = []
        for number, process in self._processes.items():
            standing = Standing.GONE if process is None else process.standing
            if process is None or standing is not Standing.SERVING:
                problems.append(f"worker {number} {standing.value}")
            elif self._reactor.seconds() - self._reported_s.get(number, self._reactor.seconds()) > SILENT_S:
                problems.append(f"worker {number} does not answer")
            elif process.report is not None:
                problems += (f"worker {number}: {reason}" for reason in process.report.reasons)
        return problems

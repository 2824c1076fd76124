"""Taking in spools over the control socket."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import ConfigurationError
from aigw.management.call import Call, Refused
from aigw.management.spool_calls import SpoolCalls


class AdoptTests(SynchronousTestCase):
    """`POST /v1/spools`."""

    def setUp(self) -> None:
        self.asked: list[Path] = []
        self.work: Deferred[int] = Deferred()
        self.calls = SpoolCalls(self.adopt)

    async def adopt(self, path: Path) -> int:
        """Stands for the log service."""
        self.asked.append(path)
        return await self.work

    def call(self, body: bytes = b'{"path": "/mnt/old/spool"}') -> Deferred[object]:
        """A call under way."""
        return Deferred.fromCoroutine(self.calls.adopt(Call(body=body)))

    def refusal(self, error: Exception) -> Refused:
        """What a caller is told of a failure."""
        calling = self.call()
        self.work.errback(error)
        refused = self.failureResultOf(calling, Refused).value
        assert isinstance(refused, Refused)
        return refused

    def test_adopted(self) -> None:
        """The caller learns how many spools are on their way."""
        calling = self.call()
        self.work.callback(2)
        self.assertEqual(self.successResultOf(calling), {"adopted": 2})
        self.assertEqual(self.asked, [Path("/mnt/old/spool")])

    def test_no_spool(self) -> None:
        """A folder that holds none is told as such."""
        self.assertEqual(self.refusal(ConfigurationError(["no spool"])).code, "no-spool")

    def test_the_disk_refuses(self) -> None:
        """The disk's own words are passed on."""
        self.assertIn("already", str(self.refusal(FileExistsError("it is here already"))))

    def test_paths_that_are_none(self) -> None:
        """A path that would mean something else in the gateway than in the caller's shell is refused."""
        for path in ("spool", "", "/a\\u0000b"):
            self.failureResultOf(self.call(f'{{"path": "{path}"}}'.encode()), Refused)
        self.assertEqual(self.asked, [])

    def test_a_caller_who_leaves(self) -> None:
        """Ctrl-C in the command does not leave half a spool behind: the copy goes on."""
        calling = self.call()
        calling.cancel()
        self.failureResultOf(calling, CancelledError)
        self.assertFalse(self.work.called)
        self.work.errback(OSError(28, "No space left on device"))

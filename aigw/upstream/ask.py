"""A request on its way to an answer, wherever it waits."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from aigw.upstream.answer import Answer
from aigw.upstream.body import HeldBody, StreamedBody


class Ask:
    """
    Ends once: answered, failed, or cancelled through the Deferred.

    Args:
        head: As `request_head` wrote it.
        body: See there.
        bodiless: Whether the answer has no body whatever its head says (HEAD).
    Attributes:
        stop: Ends what is being done for this request just now; set by whoever does it.
        over: Whether it has ended.
    """

    __slots__ = ("_answer", "bodiless", "body", "head", "over", "stop")

    def __init__(self, head: bytes, body: HeldBody | StreamedBody, bodiless: bool) -> None:
        self.head = head
        self.body = body
        self.bodiless = bodiless
        self.over = False
        self.stop: Callable[[], object] | None = None
        self._answer: Deferred[Answer] | None = None

    @property
    def once(self) -> bool:
        """Whether it cannot be sent again, since nobody keeps its body."""
        return isinstance(self.body, StreamedBody)

    def begin(self) -> Deferred[Answer]:
        """
        Called once.

        Returns:
            Fires with the answer's head; cancelling it stops the request, wherever it is.
        """
        self._answer = Deferred(self._cancelled)
        return self._answer

    def answered(self, answer: Answer) -> None:
        """The head is there."""
        deferred = self._end()
        if deferred is not None:
            deferred.callback(answer)

    def fail(self, error: Exception) -> None:
        """There will be no answer."""
        deferred = self._end()
        if deferred is not None:
            deferred.errback(error)

    def _end(self) -> Deferred[Answer] | None:
        # Nothing is kept that points back here: a cycle a request would keep the garbage collector busy.
        deferred, self._answer = self._answer, None
        self.over = True
        self.stop = None
        return deferred

    def _cancelled(self, _answer: Deferred[Answer]) -> None:
        stop = self.stop
        self._end()
        if stop is not None:
            stop()

"""What a program holds of a request that it has sent."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from aigw.client.failures import AnswerFailed, AnswerNotRead, ClientFailure

# How much of one answer may wait for its reader. Stopping to read the socket instead would stop every other answer
# on it, among them perhaps the one that the reader waits for.
WAITING_BYTES = 64 * 1024 * 1024


class Answer:
    """
    One request's answer: await `begun`, then either await `whole` or go through the pieces with `async for`.

    Args:
        event_id: The request's correlation id.
        piece: Called with each piece of a stream as it comes; then there is nothing to go through.

    Attributes:
        event_id: See above.
        metadata: Of the latest message that carried it all: log id, step, content type, status, cache status.
    """

    def __init__(self, event_id: str, piece: Callable[[Any], None] | None = None) -> None:
        self.event_id = event_id
        self.metadata: Mapping[str, Any] = {}
        self._piece = piece
        self._pieces: deque[tuple[Any, int]] = deque()
        self._waiting_bytes = 0
        self._response: Any = None
        self._failure: ClientFailure | None = None
        self._is_begun = False
        self._is_over = False
        self._readers: list[Deferred[None]] = []

    async def begun(self) -> Mapping[str, Any]:
        """
        Wait until the answer begins.

        Returns:
            Its metadata; `status` is the HTTP status, `logId` finds its row with `aigw logs show`.
        Raises:
            ClientFailure: There is no answer.
        """
        while not self._is_begun:
            if self._failure is not None:
                raise self._failure
            await self._something()
        return self.metadata

    async def whole(self) -> Any:
        """
        Wait for the end.

        Returns:
            The provider's JSON; of a stream, the list of the pieces that were not gone through.
        Raises:
            AnswerFailed: The provider or the gateway answered with an error, or the stream broke off.
            ClientFailure: The connection is gone.
        """
        while not self._is_over:
            await self._something()
        if self._failure is not None:
            raise self._failure
        if self._response is not None or not self._pieces:
            return self._response
        return [piece async for piece in self]

    async def __aiter__(self) -> AsyncIterator[Any]:
        """The pieces of a stream as they come; of a whole answer, that one. Raises as `whole` does, after the last."""
        while True:
            if self._pieces:
                piece, size = self._pieces.popleft()
                self._waiting_bytes -= size
                yield piece
            elif self._is_over:
                break
            else:
                await self._something()
        if self._failure is not None:
            raise self._failure
        if self._response is not None:
            yield self._response

    # For the connection -----------------------------------------------------------------------------------------

    def receive(self, message: Mapping[str, Any], size: int) -> bool:
        """
        Take in a message.

        Args:
            message: Decoded.
            size: Its length in bytes.
        Returns:
            Whether the answer is over.
        """
        kind = message.get("type")
        if kind == "universal.stream":
            self._take_piece(message.get("response"), size)
        elif kind in ("universal.created", "universal.done"):
            self.metadata = message.get("metadata") or {}
            self._is_begun = True
            if kind == "universal.done":
                self._end(_broken_off(self.metadata))
            elif "response" in message:
                self._response = message["response"]
                self._end(_error_answer(self.metadata, self._response))
        self._tell()
        return self._is_over

    def fail(self, failure: ClientFailure) -> None:
        """There is no more to come."""
        if not self._is_over:
            self._end(failure)
            self._tell()

    def _take_piece(self, piece: Any, size: int) -> None:
        if self._piece is not None:
            self._piece(piece)
        elif self._waiting_bytes + size > WAITING_BYTES:
            self._end(AnswerNotRead(f"more than {WAITING_BYTES} bytes of answer {self.event_id} were not read"))
        else:
            self._waiting_bytes += size
            self._pieces.append((piece, size))

    def _end(self, failure: ClientFailure | None) -> None:
        self._is_over = True
        self._failure = failure

    async def _something(self) -> None:
        """Wait until anything has come."""
        # Without a canceller, Twisted forgives the callback that comes after a cancellation.
        waiting: Deferred[None] = Deferred()
        self._readers.append(waiting)
        await waiting

    def _tell(self) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.callback(None)


def _error_answer(metadata: Mapping[str, Any], response: Any) -> AnswerFailed | None:
    status = metadata.get("status")
    if not isinstance(status, int) or status < 400:
        return None
    return AnswerFailed(status, _message_of(response) or f"HTTP status {status}", response)


def _broken_off(metadata: Mapping[str, Any]) -> AnswerFailed | None:
    if metadata.get("complete", True):
        return None
    error = metadata.get("error")
    return AnswerFailed(0, _message_of({"error": error}) or "the stream broke off", error)


def _message_of(response: Any) -> str:
    """The sentence in an error body, the gateway's own or one of the usual vendors' shapes."""
    if not isinstance(response, dict):
        return response if isinstance(response, str) else ""
    error = response.get("error")
    if isinstance(response.get("message"), str):
        return str(response["message"])
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])
    return error if isinstance(error, str) else ""

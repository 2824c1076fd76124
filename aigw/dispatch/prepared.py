"""Stage 8: a request gets its credential, then it is sent."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from aigw.errors import GatewayError, InternalError
from aigw.interfaces import ICredentials, IUpstream, IUpstreamCall
from aigw.values.step import UpstreamRequest


def send_prepared(
    upstream: IUpstream, request: UpstreamRequest, credentials: ICredentials | None, receiver: Any
) -> IUpstreamCall:
    """
    Send a request with the credential that must be made for it.

    Args:
        upstream: Sends it.
        request: Without that credential.
        credentials: Makes it; None when nothing must be made.
        receiver: An `IUpstreamReceiver`; also told when the credential cannot be had.
    Returns:
        The call, which may be paused and stopped while the credential is still being fetched.
    Raises:
        GatewayError: There can be no credential.
    """
    if credentials is None:
        return upstream.send(request, receiver)  # type: ignore[no-any-return]  # the interface cannot say so
    prepared = credentials.prepare(request)
    if isinstance(prepared, Deferred):
        return PreparedCall(upstream, prepared, receiver)
    return upstream.send(prepared, receiver)  # type: ignore[no-any-return]  # the interface cannot say so


@implementer(IUpstreamCall)
class PreparedCall:
    """
    A call whose credential comes first.

    Args:
        upstream: Sends the request.
        preparing: Fires with the request.
        receiver: An `IUpstreamReceiver`.
    """

    _log = Logger()

    __slots__ = ("_call", "_paused", "_preparing", "_receiver", "_upstream")

    def __init__(self, upstream: IUpstream, preparing: Deferred[UpstreamRequest], receiver: Any) -> None:
        self._upstream = upstream
        self._receiver = receiver
        self._paused = False
        self._call: IUpstreamCall | None = None
        # None once it has fired, or nobody waits for it any more.
        self._preparing: Deferred[UpstreamRequest] | None = preparing
        preparing.addCallbacks(self._send, self._unprepared).addErrback(self._defect)

    def pause(self) -> None:
        """See `IUpstreamCall`."""
        self._paused = True
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        """See `IUpstreamCall`."""
        self._paused = False
        if self._call is not None:
            self._call.resume()

    def stop(self) -> None:
        """See `IUpstreamCall`."""
        preparing, self._preparing = self._preparing, None
        if preparing is not None:
            preparing.cancel()
        elif self._call is not None:
            self._call.stop()

    def _send(self, request: UpstreamRequest) -> None:
        if self._preparing is None:
            return
        self._preparing = None
        try:
            self._call = call = self._upstream.send(request, self._receiver)
        except Exception:
            self._log.failure("A request with its credential could not be sent")
            self._receiver.failed(InternalError())
            return
        if self._paused:
            call.pause()

    def _unprepared(self, failure: Failure) -> None:
        if self._preparing is None:
            return
        self._preparing = None
        error = failure.value
        if not isinstance(error, GatewayError):
            self._log.failure("A credential could not be made, in a way that it should not", failure=failure)
            error = InternalError()
        self._receiver.failed(error)

    def _defect(self, failure: Failure) -> None:
        self._log.failure("A receiver failed when it was told of its credential", failure=failure)

"""Host names to addresses, off the reactor's thread and off its thread pool."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from threading import Thread
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorThreads,
    IResolutionReceiver,
)
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

# RFC 6761 keeps this name for the machine itself, whatever a name server says.
_LOCALHOST = ("127.0.0.1", "::1")

GetAddrInfo = Callable[..., Sequence[tuple[Any, Any, int, str, tuple[Any, ...]]]]


class _DaemonThread(Thread):
    # getaddrinfo cannot be interrupted; a dead name server must not keep the process from ending.
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, daemon=True, **kwargs)


class _Threads(ThreadPool):
    threadFactory = _DaemonThread


@implementer(IHostResolution)
class _Resolution:
    """A look-up that runs to its end, whoever still waits for it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """The thread cannot be stopped."""


@implementer(IHostnameResolver)
class Names:
    """
    Asks the system's resolver in threads of its own, since names that nobody answers for hold a thread for seconds,
    and in the reactor's pool they would hold up all else that runs there. Those who ask for the same name at the same
    time share one look-up. Addresses and `localhost` need no look-up.

    Args:
        reactor: Brings results back to its thread.
        threads: How many names are looked up at the same time.
        getaddrinfo: The system's resolver.
    """

    def __init__(self, reactor: IReactorThreads, threads: int, getaddrinfo: GetAddrInfo = socket.getaddrinfo) -> None:
        self._reactor = reactor
        self._getaddrinfo = getaddrinfo
        self._pool = _Threads(0, threads, "aigw-names")
        self._asking: dict[str, list[tuple[IResolutionReceiver, int]]] = {}
        self._closed = False

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Look up the TCP addresses of a name; see `IHostnameResolver`."""
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        if isIPAddress(hostName) or isIPv6Address(hostName):
            _tell(resolutionReceiver, (hostName,), portNumber)
        elif hostName.lower().rstrip(".") == "localhost":
            _tell(resolutionReceiver, _LOCALHOST, portNumber)
        elif self._closed:
            _tell(resolutionReceiver, (), portNumber)
        elif hostName in self._asking:
            self._asking[hostName].append((resolutionReceiver, portNumber))
        else:
            self._asking[hostName] = [(resolutionReceiver, portNumber)]
            self._look_up(hostName)
        return resolution

    def _look_up(self, name: str) -> None:
        if not self._pool.started:
            self._pool.start()
        self._pool.callInThreadWithCallback(
            partial(self._reactor.callFromThread, self._found, name),
            self._getaddrinfo,
            name,
            0,
            0,
            socket.SOCK_STREAM,
        )

    def _found(self, name: str, success: bool, result: Any) -> None:
        """The look-up of a name has ended; `result` is what getaddrinfo gave, or a Failure."""
        addresses = () if isinstance(result, Failure) else tuple(dict.fromkeys(found[4][0] for found in result))
        for receiver, port in self._asking.pop(name, ()):
            _tell(receiver, addresses, port)

    def close(self) -> None:
        """Let the threads end, each after the look-up that it may be in; nobody waits for them."""
        self._closed = True
        self._pool.adjustPoolsize(0, 0)


def _tell(receiver: IResolutionReceiver, addresses: Sequence[str], port: int) -> None:
    for address in addresses:
        kind = IPv6Address if isIPv6Address(address) else IPv4Address
        receiver.addressResolved(kind("TCP", address, port))
    receiver.resolutionComplete()

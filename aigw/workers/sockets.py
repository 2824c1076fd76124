"""Listening sockets that the parent opens and its workers accept from."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from aigw.workers.messages import SharedSocket

# Twisted accepts as many as there are. The first worker to wake would then have the whole crowd that a restart of a
# balancer brings, for as long as their sockets stay open.
_AT_A_TIME = 1


class _OneByOne:
    """Accepts a connection a turn, and leaves the socket to others when it closes."""

    # Closing must not shut the socket down beneath the others.
    _shouldShutdown = False

    @property
    def numberAccepts(self) -> int:
        return _AT_A_TIME

    @numberAccepts.setter
    def numberAccepts(self, number: int) -> None:
        """Twisted lets the number grow with the crowd."""


class _AcceptingTCP(_OneByOne, tcp.Port):
    pass


class _AcceptingUNIX(_OneByOne, unix.Port):
    def connectionLost(self, reason: Failure) -> None:
        """Close it; its file is the parent's."""
        tcp.Port.connectionLost(self, reason)


class _HeldTCP(tcp.Port):
    _shouldShutdown = False

    def startReading(self) -> None:
        """Workers accept; connections wait for them in the kernel."""


class _HeldUNIX(unix.Port):
    _shouldShutdown = False

    def startReading(self) -> None:
        """As for TCP."""


class _Reactor:
    """
    A reactor for endpoints: what they listen on is shared.

    Args:
        reactor: The real one; everything else is asked of it.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenSSL(
        self, port: int, factory: Factory[Any], contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """As a reactor's own: TLS is spoken by whoever accepts."""
        return self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, False, factory), backlog, interface)

    def listenTCP(self, port: int, factory: Factory[Any], backlog: int = 50, interface: str = "") -> IListeningPort:
        """See `IReactorTCP`."""
        raise NotImplementedError


class HoldingReactor(_Reactor):
    """For the parent: it listens, and accepts nothing."""

    def listenTCP(self, port: int, factory: Factory[Any], backlog: int = 50, interface: str = "") -> IListeningPort:
        """See `IReactorTCP`."""
        held: Any = _HeldTCP(port, factory, backlog, interface, self._reactor)
        held.startListening()
        return held  # type: ignore[no-any-return]  # untyped there

    def listenUNIX(
        self, address: bytes, factory: Factory[Any], backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> IListeningPort:
        """See `IReactorUNIX`."""
        held: Any = _HeldUNIX(address, factory, backlog, mode, self._reactor, wantPID)
        held.startListening()
        return held  # type: ignore[no-any-return]  # untyped there

    def adoptStreamPort(self, descriptor: int, family: int, factory: Factory[Any]) -> IListeningPort:
        """See `IReactorSocket`: such as systemd's sockets."""
        held: Any = (
            _HeldUNIX._fromListeningDescriptor(self._reactor, descriptor, factory)
            if family == socket.AF_UNIX
            else _HeldTCP._fromListeningDescriptor(self._reactor, descriptor, family, factory)
        )
        held.startListening()
        return held  # type: ignore[no-any-return]  # untyped there


class AcceptingReactor(_Reactor):
    """
    For a worker: it accepts from a socket that is open already, whatever an endpoint wants to listen on.

    Args:
        reactor: The real one.
        shared: The endpoint's socket.
    """

    def __init__(self, reactor: Any, shared: SharedSocket) -> None:
        super().__init__(reactor)
        self._shared = shared

    def listenTCP(self, port: int, factory: Factory[Any], backlog: int = 50, interface: str = "") -> IListeningPort:
        """See `IReactorTCP`."""
        return self.accept(factory)

    def listenUNIX(
        self, address: bytes, factory: Factory[Any], backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> IListeningPort:
        """See `IReactorUNIX`."""
        return self.accept(factory, mode)

    def accept(self, factory: Factory[Any], mode: int = 0o666) -> IListeningPort:
        """
        Begin.

        Args:
            factory: Makes the protocols.
            mode: Of a UNIX socket's file.
        """
        shared = self._shared
        port: Any
        if shared.family == socket.AF_UNIX:
            port = _AcceptingUNIX._fromListeningDescriptor(self._reactor, shared.descriptor, factory)
            port.mode = mode
        else:
            port = _AcceptingTCP._fromListeningDescriptor(self._reactor, shared.descriptor, shared.family, factory)
        port.startListening()
        # It has a descriptor of its own. While any is open, the kernel takes connections.
        os.close(shared.descriptor)
        return port  # type: ignore[no-any-return]  # untyped there


def share(port: IListeningPort, endpoint: str, descriptor: int) -> SharedSocket:
    """
    What a worker is told of a socket that the parent holds.

    Args:
        port: Of `HoldingReactor`.
        endpoint: As in the settings.
        descriptor: Its number in the worker.
    """
    held: Any = port
    return SharedSocket(endpoint, int(held.socket.family), descriptor)

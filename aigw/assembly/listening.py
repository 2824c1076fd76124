"""Ports: how they are opened and closed, and how people are told of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory


async def listen(reactor: Any, endpoint: str, factory: Factory[Any]) -> IListeningPort:
    """
    Listen on an endpoint.

    Raises:
        CannotListenError: Somebody else does.
    """
    port: IListeningPort = await serverFromString(reactor, endpoint).listen(factory)
    return port


async def listen_all(
    reactor: Any, endpoints: Iterable[str], factory: Factory[Any], scheme: str, ports: list[IListeningPort]
) -> list[str]:
    """
    Listen on several endpoints.

    Args:
        reactor: For the sockets.
        endpoints: As in the settings.
        factory: For all of them.
        scheme: See `shown_address`.
        ports: Gets each port as soon as it is open.
    Returns:
        The addresses for people, such as `ws://127.0.0.1:8787`.
    Raises:
        CannotListenError: See `listen`.
    """
    addresses = []
    for endpoint in endpoints:
        port = await listen(reactor, endpoint, factory)
        ports.append(port)
        addresses.append(shown_address(port, endpoint, scheme))
    return addresses


async def stop_listening(ports: Iterable[IListeningPort]) -> None:
    """Accept nothing more."""
    for port in ports:
        stopped = port.stopListening()
        if stopped is not None:
            await stopped


def shown_address(port: IListeningPort, endpoint: str, scheme: str) -> str:
    """
    How to reach a port, for people: of one that listens everywhere, the loopback address.

    Args:
        port: Of the endpoint.
        endpoint: As in the settings; one with TLS gets an `s` behind its scheme.
        scheme: `ws` or `http`.
    """
    scheme = f"{scheme}s" if endpoint.startswith("ssl:") else scheme
    address: Any = port.getHost()
    if not hasattr(address, "port"):
        return f"{scheme}+unix:{os.fsdecode(address.name)}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104  # shown, not listened on
    return f"{scheme}://[{host}]:{address.port}" if ":" in host else f"{scheme}://{host}:{address.port}"

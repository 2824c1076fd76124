"""The whole product: a real gateway process, a real PostgreSQL, real sockets."""

from __future__ import annotations

from typing import Any

from twisted.web.client import Agent, readBody


async def fetch(reactor: Any, url: str) -> tuple[int, bytes]:
    """Status and body of a GET."""
    response = await Agent(reactor, connectTimeout=10).request(b"GET", url.encode())
    return response.code, await readBody(response)


async def metric(reactor: Any, control_url: str, name: str) -> float:
    """A metric without labels, from a control port."""
    _, page = await fetch(reactor, f"{control_url}/metrics")
    return next(float(line.split()[1]) for line in page.decode().splitlines() if line.startswith(f"{name} "))

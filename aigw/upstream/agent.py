"""The agents beneath treq: a keep-alive pool on `httptools`, and the choice of an agent by a URL's scheme."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.web.http_headers import Headers as WebHeaders
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer

from aigw.errors import GatewayError, InvalidField, ProviderFailed
from aigw.serving.wheel import Wheel
from aigw.upstream.answer import Answer
from aigw.upstream.ask import Ask
from aigw.upstream.body import announced, sendable
from aigw.upstream.pool import Pool
from aigw.upstream.reach import Reach
from aigw.upstream.request import request_head, site, split_url
from aigw.upstream.settings import UpstreamSettings
from aigw.values.step import Headers

# Pools that hold nothing are forgotten when there are more than this; custom providers could make any number.
POOLS = 256


def pairs(headers: WebHeaders | Headers | None) -> Headers:
    """Header fields as pairs, whichever way they were given."""
    if headers is None:
        return ()
    if isinstance(headers, WebHeaders):
        return tuple((name, value) for name, values in headers.getAllRawHeaders() for value in values)
    return headers


@implementer(IAgent)
class PooledAgent:
    """
    `http` and `https`. Follows no redirect, keeps no cookie, takes off no compression.

    A failed request ends with a `GatewayError` of `aigw.errors`.

    Args:
        reach: Makes endpoints.
        wheel: For idle connections.
        settings: Bounds.
        trusted: Whether all that it is asked for is the operator's own word; see `Reach.endpoint`. Connections to
            private addresses are kept here, so no other request may use them.
    """

    def __init__(self, reach: Reach, wheel: Wheel, settings: UpstreamSettings, trusted: bool = False) -> None:
        self._reach = reach
        self._trusted = trusted
        self._wheel = wheel
        self._settings = settings
        self._pools: dict[bytes, Pool] = {}
        self._closed = False

    def request(  # type: ignore[override]  # an Answer is an IResponse, but a Deferred of it does not pass for one
        self,
        method: bytes,
        uri: bytes,
        headers: WebHeaders | Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[Answer]:
        """
        Ask, and be answered; see `IAgent`.

        Args:
            method: Upper case.
            uri: Absolute.
            headers: Pairs are taken as well, and go out as they are.
            bodyProducer: Held in memory, or any other; that one is sent only once.
        """
        try:
            body = sendable(bodyProducer)
            origin, target = split_url(uri)
            pool = self._pools.get(origin) or self._new_pool(origin)
            head = request_head(method, target, pool.place.header, pairs(headers), announced(body))
        except GatewayError as error:
            return fail(error)
        ask = Ask(head, body, method == b"HEAD")
        answer = ask.begin()
        pool.take(ask)
        return answer

    def _new_pool(self, origin: bytes) -> Pool:
        if self._closed:
            raise ProviderFailed("the gateway is stopping")
        if len(self._pools) >= POOLS:
            self._pools = {name: pool for name, pool in self._pools.items() if pool.count}
        place = site(origin)
        try:
            endpoint = self._reach.endpoint(place, self._trusted)
        except ValueError:
            raise InvalidField("the provider's address has an impossible host name") from None
        pool = self._pools[origin] = Pool(place, endpoint, self._wheel, self._settings)
        return pool

    @property
    def connections(self) -> int:
        """Connections that are busy, idle or being made."""
        return sum(pool.count for pool in self._pools.values())

    @property
    def idle_connections(self) -> int:
        """Connections that wait for a request."""
        return sum(pool.idle_count for pool in self._pools.values())

    def close(self) -> Deferred[list[None]]:
        """
        Close every connection, busy or not; take no more requests.

        Returns:
            Fires when the last connection is gone.
        """
        self._closed = True
        return gatherResults([pool.close() for pool in self._pools.values()])


@implementer(IAgent)
class SchemeAgent:
    """
    Leaves each request to the agent for its URL's scheme.

    Args:
        agents: By scheme.
    """

    def __init__(self, agents: Mapping[bytes, IAgent]) -> None:
        self._agents = agents

    def request(  # type: ignore[override]  # an Answer is an IResponse, but a Deferred of it does not pass for one
        self,
        method: bytes,
        uri: bytes,
        headers: WebHeaders | Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[Answer]:
        """Ask, and be answered; see `IAgent`."""
        agent = self._agents.get(uri[: uri.find(b":")])
        if agent is None:
            return fail(InvalidField("the provider's address has a scheme that is not spoken here"))
        return agent.request(method, uri, headers, bodyProducer)  # type: ignore[return-value, arg-type]  # both are ours

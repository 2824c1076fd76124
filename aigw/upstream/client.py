"""treq's client, without what a gateway must not do for its callers."""

from __future__ import annotations

from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.iweb import IBodyProducer

from aigw.upstream.answer import Answer
from aigw.values.step import Headers


class DirectClient(HTTPClient):
    """
    Hands requests to its agent as they are.

    treq's own client wraps the agent anew for each request: in a cookie jar (one for all callers, so tenants would
    share cookies), in redirects (which would carry keys to another host) and in a decoder of gzip (which would
    change what passes through, at any size). Nothing of that is wanted here, and it is most of a small request's cost.
    """

    def request(  # type: ignore[override]  # takes less than treq's, on purpose
        self, method: bytes, url: bytes, *, headers: Headers = (), data: IBodyProducer | None = None, **_treq: Any
    ) -> Deferred[Answer]:
        """
        Send a request.

        Args:
            method: Upper case.
            url: Absolute, percent-encoded.
            headers: Names in lower case.
            data: Held in memory, or produced while it is sent.
        Returns:
            Fires with the answer's head; its body waits for `deliverBody`.
        """
        return self._agent.request(method, url, headers, data)  # type: ignore[arg-type, return-value]  # our agents

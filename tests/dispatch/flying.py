"""What the tests of flights and of the cache work with."""

from __future__ import annotations

from zope.interface import implementer

from aigw.controls.authentication import ANONYMOUS
from aigw.controls.cache import Cache, CachePlan
from aigw.controls.visit import Ask, Visit
from aigw.interfaces import ICacheStore
from aigw.values.cached import CachedAnswer
from aigw.values.gateway import Gateway
from aigw.values.record import Target
from aigw.values.step import Clocks, Headers, UpstreamRequest

NOW_MS = 1_800_000_000_000
SHARED = CachePlan(b"k" * 32, 300, 0, True, False)
ALONE = CachePlan(b"k" * 32, 300, 0, False, False)
REQUEST = UpstreamRequest(b"POST", b"https://p.test/v1/chat/completions", (), b"{}", Clocks())


@implementer(ICacheStore)
class DictStore:
    """
    Attributes:
        kept: Answers by key, with the moment until which they are kept.
    """

    available = True

    def __init__(self) -> None:
        self.kept: dict[bytes, tuple[CachedAnswer, int]] = {}

    def get(self, key: bytes, now_ms: int) -> CachedAnswer | None:
        """See `ICacheStore`."""
        answer, until_ms = self.kept.get(key, (None, 0))
        return answer if now_ms < until_ms else None

    def put(self, key: bytes, answer: CachedAnswer, kept_until_ms: int) -> None:
        """See `ICacheStore`."""
        self.kept[key] = (answer, kept_until_ms)

    def drop(self, key: bytes) -> None:
        """See `ICacheStore`."""
        self.kept.pop(key, None)


def cache(store: ICacheStore | None = None, object_bytes: int = 1_000_000) -> Cache:
    """A cache whose clock stands still."""
    return Cache(store or DictStore(), lambda: NOW_MS, object_bytes)


def visit(
    gateway: Gateway | None = None,
    settings: dict[str, str] | None = None,
    *,
    method: bytes = b"POST",
    url: bytes = REQUEST.url,
    headers: Headers = ((b"authorization", b"Bearer sk-fake"), (b"content-type", b"application/json")),
    body: object = b'{"model":"gpt-4o-mini"}',
    provider: str = "openai",
    model_type: str = "chat",
) -> Visit:
    """
    One step.

    Args:
        settings: `cf-aig-*` headers without that prefix.
    """
    return Visit(
        gateway=gateway or Gateway(id="g", cache_ttl=300),
        caller=ANONYMOUS,
        target=Target(provider, model_type=model_type),
        request=UpstreamRequest(method, url, headers, body, Clocks()),  # type: ignore[arg-type]
        settings={b"cf-aig-" + name.encode(): value.encode() for name, value in (settings or {}).items()},
        metadata={},
        raw_metadata=b"",
        ask=Ask(),
        now_ms=NOW_MS,
        price=lambda usage, model: None,
    )

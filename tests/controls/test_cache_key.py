"""Two requests are the same when nothing differs that could change the answer."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.cache_key import PREFIXES_KEPT, CacheKeys, custom_key
from aigw.values.gateway import Gateway
from aigw.values.step import Headers
from tests.dispatch.flying import REQUEST, visit

HEADERS: Headers = ((b"authorization", b"Bearer sk-fake"), (b"content-type", b"application/json"))
GATEWAY = Gateway(id="g", cache_ttl=300)

# What is different, and the visit that it makes.
DIFFERENT = {
    "gateway": visit(Gateway(id="h", cache_ttl=300)),
    "account": visit(Gateway(id="g", account="other", cache_ttl=300)),
    "provider": visit(provider="groq"),
    "address": visit(url=REQUEST.url + b"?x=1"),
    "method": visit(method=b"PUT"),
    "body": visit(body=b'{"model":"gpt-4o-mini" }'),
    "credential": visit(headers=((b"authorization", b"Bearer sk-fake-2"), HEADERS[1])),
    "no credential": visit(headers=HEADERS[1:]),
    "credential in another header": visit(headers=((b"x-api-key", b"Bearer sk-fake"), HEADERS[1])),
    "type of the body": visit(headers=(HEADERS[0], (b"content-type", b"text/plain"))),
    "version of the API": visit(headers=(*HEADERS, (b"anthropic-version", b"2023-06-01"))),
    "beta features": visit(headers=(*HEADERS, (b"openai-beta", b"assistants=v2"))),
    "wanted type": visit(headers=(*HEADERS, (b"accept", b"text/event-stream"))),
    "a header that nobody knows": visit(headers=(*HEADERS, (b"x-organisation", b"1"))),
    "where a header ends": visit(headers=((b"authorization", b"Bearer sk-fak"), (b"econtent-type", HEADERS[1][1]))),
}
SAME = {
    "program": (*HEADERS, (b"user-agent", b"OpenAI/Python 2.8")),
    "the SDK's own": (*HEADERS, (b"x-stainless-retry-count", b"1"), (b"x-stainless-os", b"Linux")),
    "trace": (*HEADERS, (b"traceparent", b"00-1-2-01"), (b"x-datadog-trace-id", b"7")),
    "request id": (*HEADERS, (b"x-request-id", b"1"), (b"idempotency-key", b"2")),
    "web page": (*HEADERS, (b"origin", b"https://app.example"), (b"sec-fetch-mode", b"cors")),
    "order": HEADERS[::-1],
}


class CacheKeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.keys = CacheKeys()

    def test_same(self) -> None:
        """What changes no answer changes no key."""
        key = self.keys.of_request(visit(GATEWAY), 1)
        self.assertEqual(len(key), 32)
        self.assertEqual(self.keys.of_request(visit(GATEWAY), 1), key)
        for name, headers in SAME.items():
            self.assertEqual(self.keys.of_request(visit(GATEWAY, headers=headers), 1), key, name)

    def test_different(self) -> None:
        """Whatever may change the answer, or whose answer it is, changes the key."""
        keys = {self.keys.of_request(each, 1): name for name, each in DIFFERENT.items()}
        keys[self.keys.of_request(visit(GATEWAY), 1)] = "none"
        self.assertEqual(len(keys), len(DIFFERENT) + 1)

    def test_update_empties(self) -> None:
        """A change of the settings changes every key, where the owner asked for that, and only there."""
        kept, emptied = GATEWAY, Gateway(id="g", cache_ttl=300, cache_invalidate_on_update=True)
        self.assertEqual(self.keys.of_request(visit(kept), 1), self.keys.of_request(visit(kept), 2))
        self.assertNotEqual(self.keys.of_request(visit(emptied), 1), self.keys.of_request(visit(emptied), 2))
        self.assertEqual(custom_key(visit(kept), b"faq", 1), custom_key(visit(kept), b"faq", 2))
        self.assertNotEqual(custom_key(visit(emptied), b"faq", 1), custom_key(visit(emptied), b"faq", 2))

    def test_custom(self) -> None:
        """A key that the caller names is shared by all of its gateway, and by nobody else."""
        key = custom_key(visit(GATEWAY), b"faq", 1)
        for name in ("provider", "address", "body", "credential"):
            self.assertEqual(custom_key(DIFFERENT[name], b"faq", 1), key, name)
        for name in ("gateway", "account"):
            self.assertNotEqual(custom_key(DIFFERENT[name], b"faq", 1), key, name)
        self.assertNotEqual(custom_key(visit(GATEWAY), b"faq2", 1), key)

    def test_bounded(self) -> None:
        """Any number of credentials leaves a bounded number of digests in memory."""
        for number in range(PREFIXES_KEPT + 5):
            self.keys.of_request(visit(GATEWAY, headers=((b"authorization", b"Bearer sk-fake-%d" % number),)), 1)
        self.assertEqual(len(self.keys._prefixes), PREFIXES_KEPT)

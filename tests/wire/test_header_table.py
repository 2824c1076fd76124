"""
Every request header of section 4.1 of Cloudflare's reference, as a table: what it may say, and what comes of it.

`HEADERS` has one row a header; its effect is shown by the test of the same name. The values are tried on each route:
over HTTP to a provider's own API, over HTTP as a universal request, and on the universal WebSocket, there as the header
of a step.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from aigw.values.record import End
from aigw.values.setting_headers import DEPRECATED, LOCKABLE
from tests.wire.http_client import CHAT, CLOSED, TOKEN, Answer, HttpCase

COST = '{"per_token_in": 1e-6, "per_token_out": 2e-6}'
USAGE = b'{"model": "gpt-4o", "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}'
FLAG = (("true", "false", "TRUE", " false "), ("yes", "1", "", "maybe"))
NUMBER = (("0", "60", "-1", "9" * 64), ("", "1.5", "1s", "abc", "0x10", "9" * 65))
ANY = (("x", "a b", '{"a":1}'), ())


@attrs.frozen
class Row:
    """
    Attributes:
        name: Without `cf-aig-`.
        accepted: Values that are taken, some of them brought into a range.
        refused: Values that get 400 with code 4003 and the header's name.
    """

    name: str
    accepted: tuple[str, ...]
    refused: tuple[str, ...]


HEADERS = (
    Row("skip-cache", *FLAG),
    Row("cache-ttl", *NUMBER),
    Row("cache-key", *ANY),
    Row("collect-log", *FLAG),
    Row("collect-log-payload", *FLAG),
    Row("metadata", ("{}", '{"a":1}', '{"a":{}}', '{"a":null}'), ("", "{", "[1]", "text", "5", "null")),
    Row(
        "custom-cost",
        (COST, '{"total_cost": 0.5}', '{"per_token_in": 0}'),
        ("", "0.1", "{}", '{"per_token_in": -1}', '{"per_token": 1}', '{"total_cost": "1"}'),
    ),
    Row("event-id", *ANY),
    Row("request-timeout", *NUMBER),
    Row("max-attempts", *NUMBER),
    Row("retry-delay", *NUMBER),
    Row("backoff", ("constant", "linear", "exponential", "Linear"), ("", "cubic")),
    Row("byok-alias", *ANY),
    Row("no-wholesale", *FLAG),
    Row("zdr", *FLAG),
    Row("otel-trace-id", *ANY),
    Row("otel-parent-span-id", *ANY),
    Row("session-id", *ANY),
    Row("turn-id", *ANY),
    Row("no-session-affinity", *FLAG),
    Row("allowed-models", *ANY),
    Row("allowed-providers", *ANY),
)


class TableCase(HttpCase):
    """A client on every route of an open gateway."""

    def native(self, name: str, value: str, gateway: str = "open") -> Answer:
        """Ask a provider's own API; it answers `{}` when it is asked."""
        return self.answered(f"/v1/local/{gateway}/openai/chat/completions", headers=((name, value),))

    def universal(self, name: str, value: str) -> Answer:
        """The same with a universal request over HTTP."""
        step = {"provider": "openai", "endpoint": "chat/completions", "headers": {}, "query": json.loads(CHAT)}
        return self.answered("/v1/local/open", body=json.dumps(step).encode(), headers=((name, value),))

    def on_socket(self, name: str, value: Any) -> int:
        """The same as a step's header on the WebSocket; the code of the gateway's own error, or 0."""
        link, client = self.port.connect("/v1/local/open")
        step = {"provider": "openai", "endpoint": "chat/completions", "headers": {name: value}}
        before = len(self.port.upstream.calls)
        client.send({"type": "universal.create", "request": {**step, "query": json.loads(CHAT)}})
        link.settle()
        if len(self.port.upstream.calls) > before:
            self.call.answer(b"{}")
            link.settle()
        return self.record.error_code

    @property
    def record(self) -> End:
        """Of the latest request."""
        return self.port.sink.ended[-1]


class ValuesTests(TableCase):
    """What each header may say."""

    def test_the_table_is_complete(self) -> None:
        """Every header that a caller may set, or an owner lock, has its row."""
        self.assertEqual({f"cf-aig-{row.name}".encode() for row in HEADERS}, LOCKABLE)

    def test_accepted(self) -> None:
        """These values are taken on every route; numbers out of range are brought into it."""
        for row in HEADERS:
            name = f"cf-aig-{row.name}"
            for value in row.accepted:
                self.assertEqual(self.native(name, value).status, 200, (name, value))
                self.assertEqual(self.universal(name, value).status, 200, (name, value))
                self.assertEqual(self.on_socket(name, value), 0, (name, value))

    def test_refused(self) -> None:
        """These get 400 on every route, with the header's name, and no provider is asked."""
        for row in HEADERS:
            name = f"cf-aig-{row.name}"
            for value in row.refused:
                for answer in (self.native(name, value), self.universal(name, value)):
                    self.assert_refused(answer, 400, 4003)
                    self.assertIn(f"header `{name}`", answer.json["error"][0]["message"])
                self.assertEqual(self.on_socket(name, value), 4003, (name, value))
        self.assertEqual(self.port.upstream.calls, [])

    def test_none_reaches_a_provider(self) -> None:
        """Whatever it says, no header of the gateway is sent on, nor its spelling of old."""
        names = [f"cf-aig-{row.name}" for row in HEADERS] + [name.decode() for name in DEPRECATED]
        for name in (*names, "cf-aig-authorization", "cf-aig-gateway-id", "cf-aig-of-tomorrow"):
            row = next((row for row in HEADERS if name.endswith(f"-{row.name}")), None)
            value = row.accepted[0] if row else "60"
            if name == "cf-skip-cache":
                value = "true"
            self.assertEqual(self.native(name, value).status, 200, name)
            self.assertNotIn(name.encode(), self.sent_headers())
            self.assertEqual(self.on_socket(name, value), 0, name)
            self.assertNotIn(name.encode(), self.sent_headers())

    def test_values_that_are_no_text(self) -> None:
        """The typed clients send numbers, flags and objects as they are."""
        for name, value in (
            ("cf-aig-cache-ttl", 60),
            ("cf-aig-skip-cache", True),
            ("cf-aig-metadata", {"user": "ann"}),
            ("cf-aig-custom-cost", {"total_cost": 1}),
        ):
            self.assertEqual(self.on_socket(name, value), 0, name)


class EffectTests(TableCase):
    """What comes of each header that a stage reads."""

    def test_authorization(self) -> None:
        """The token lets a caller in, with `Bearer` and without."""
        self.assert_refused(self.native("x-other", "1", CLOSED.id), 401, 2009)
        for value in (f"Bearer {TOKEN}", f"bearer {TOKEN}", TOKEN):
            self.assertEqual(self.native("cf-aig-authorization", value, CLOSED.id).status, 200, value)
            self.assertEqual((self.record.origin.token, self.record.origin.authenticated), ("tok_test", True))
        self.assert_refused(self.native("cf-aig-authorization", "Bearer undefined", CLOSED.id), 401, 2009)

    def test_collect_log(self) -> None:
        """`false` leaves no row."""
        for value, kept in (("true", True), ("false", False), ("FALSE", False)):
            self.native("cf-aig-collect-log", value)
            self.assertEqual(self.record.origin.collect, kept, value)

    def test_collect_log_payload(self) -> None:
        """`false` leaves a row without bodies."""
        for value, kept in (("true", True), ("false", False)):
            self.native("cf-aig-collect-log-payload", value)
            self.assertEqual((self.record.origin.collect, self.record.request_body is not None), (True, kept), value)

    def test_metadata(self) -> None:
        """Flat entries are kept, five at most; reserved ones are removed; anything nested or null drops them all."""
        six = {str(number): number for number in range(6)}
        for sent, kept in (
            ({"text": "ann", "whole": 4, "real": 0.5, "flag": True}, None),
            (six, {str(number): number for number in range(5)}),
            ({"cf.user_id": "forged", "plan": "free"}, {"plan": "free"}),
            ({"cf.user_id": "forged", **six}, {str(number): number for number in range(5)}),
            ({"plan": "free", "nested": {"a": 1}}, {}),
            ({"plan": "free", "list": [1]}, {}),
            ({"plan": "free", "null": None}, {}),
            ({}, {}),
        ):
            self.native("cf-aig-metadata", json.dumps(sent))
            self.assertEqual(json.loads(self.record.origin.metadata or b"{}"), sent if kept is None else kept)

    def test_event_id(self) -> None:
        """It comes back with the answer and stands in the log; a long one is cut there."""
        answer = self.native("cf-aig-event-id", "my-request")
        self.assertEqual((answer.header("cf-aig-event-id"), self.record.origin.event_id), ("my-request",) * 2)
        self.native("cf-aig-event-id", "x" * 1000)
        self.assertEqual(self.record.origin.event_id, "x" * 256)

    def test_request_timeout(self) -> None:
        """Milliseconds to the first part of the answer; never more than the owner allows; 0 and less is none."""
        for value, first_byte_s in (("1500", 1.5), ("999999999", 300.0), ("0", 300.0), ("-5", 300.0)):
            self.native("cf-aig-request-timeout", value)
            self.assertEqual(self.call.request.clocks.first_byte_s, first_byte_s, value)

    def tries(self, value: str, status: int = 500) -> int:
        """How often a failing provider is asked."""
        before = len(self.port.upstream.calls)
        headers = (("cf-aig-max-attempts", value), ("cf-aig-retry-delay", "0"))
        link, _ = self.ask(headers=headers)
        while self.port.upstream.running:
            self.call.answer(b"{}", status=status)
            # A delay of 0 is a turn of the wheel.
            link.advance(1.5, 0.5)
        return len(self.port.upstream.calls) - before

    def test_max_attempts(self) -> None:
        """Calls altogether, the first one counted; brought between 1 and 5."""
        self.assertEqual([self.tries(value) for value in ("1", "3", "5", "0", "99")], [1, 3, 5, 1, 5])
        self.assertEqual(self.tries("5", status=400), 1)

    def waits_s(self, delay: str, backoff: str = "constant") -> list[float]:
        """How long the gateway waits before each retry, to a tenth of a second."""
        names = ("cf-aig-max-attempts", "cf-aig-retry-delay", "cf-aig-backoff")
        link, _ = self.ask(headers=tuple(zip(names, ("3", delay, backoff), strict=True)))
        waits = []
        for _ in range(2):
            asked, began = len(self.port.upstream.calls), self.port.clock.seconds()
            self.call.answer(b"{}", status=500)
            link.settle()
            while len(self.port.upstream.calls) == asked:
                link.advance(0.5, 0.5)
            waits.append(self.port.clock.seconds() - began)
        self.call.answer(b"{}")
        link.settle()
        return waits

    def test_retry_delay(self) -> None:
        """Milliseconds between tries; brought under a minute."""
        for delay, wait_s in (("2000", 2.0), ("999999", 60.0)):
            for waited_s in self.waits_s(delay):
                self.assertTrue(wait_s <= waited_s <= wait_s + 1.5, (delay, waited_s))

    def test_backoff(self) -> None:
        """The delay stays, grows by itself, or doubles."""
        for backoff, factors in (("constant", (1, 1)), ("linear", (1, 2)), ("exponential", (1, 2))):
            for waited_s, factor in zip(self.waits_s("4000", backoff), factors, strict=True):
                self.assertTrue(4.0 * factor <= waited_s <= 4.0 * factor + 1.5, (backoff, waited_s))

    def test_step_over_request_over_gateway(self) -> None:
        """A step's header goes before the request's, and that before the gateway's setting."""
        self.successResultOf(
            Deferred.fromCoroutine(
                self.port.gateways.put("local", "silent", {"authentication": False, "collect_logs": False})
            )
        )
        for value, kept in (("true", True), ("false", False)):
            self.native("cf-aig-collect-log", value, "silent")
            self.assertEqual(self.record.origin.collect, kept)
        step = {"provider": "openai", "endpoint": "chat/completions", "query": {}}
        body = json.dumps([{**step, "headers": {"cf-aig-collect-log": "true"}}]).encode()
        self.answered("/v1/local/open", body=body, headers=(("cf-aig-collect-log", "false"),))
        self.assertTrue(self.record.origin.collect)

    def test_headers_of_an_upgrade(self) -> None:
        """They hold for every request of the socket; a wrong one is told with each, and a step's own goes before it."""
        for value, own, code in (("many", {}, 4003), ("2", {}, 0), ("many", {"cf-aig-max-attempts": "2"}, 0)):
            link, client = self.port.connect("/v1/local/open", {"cf-aig-max-attempts": value})
            step = {"provider": "sandbox", "endpoint": "chat/completions", "headers": own, "query": {}}
            client.send({"type": "universal.create", "request": step})
            link.settle()
            if code == 0:
                self.call.answer(b"{}")
                link.settle()
            self.assertEqual(self.record.error_code, code, (value, own))

    def test_deprecated_spellings(self) -> None:
        """The spellings without `aig` are read as today's: a wrong value is refused under today's name."""
        for name in DEPRECATED:
            answer = self.native(name.decode(), "never")
            self.assert_refused(answer, 400, 4003)
            self.assertIn(DEPRECATED[name].decode(), answer.json["error"][0]["message"])
            self.assertEqual(self.on_socket(name.decode(), "never"), 4003)
        self.assertEqual(self.native("cf-skip-cache", "true").status, 200)
        self.assertEqual(self.native("cf-cache-ttl", "60").status, 200)

    def cached(self, gateway: str, *requests: tuple[dict[str, str], bytes]) -> list[str | None]:
        """What `cf-aig-cache-status` says of each of some requests; those that a provider is asked for get `{}`."""
        path = f"/v1/local/{gateway}/openai/chat/completions"
        answers = [self.answered(path, headers=tuple(headers.items()), body=body) for headers, body in requests]
        return [answer.header("cf-aig-cache-status") for answer in answers]

    def store(self, name: str, **fields: Any) -> None:
        """An owner sets an open gateway."""
        fields = {"authentication": False, **fields}
        self.successResultOf(Deferred.fromCoroutine(self.port.gateways.put("local", name, fields)))

    def test_cache_ttl(self) -> None:
        """It shortens, lengthens or ends what the gateway caches, and alone does not switch the cache on."""
        self.store("caching", cache_ttl=300)
        self.store("opted", cache_without_ttl=True)
        for gateway, value, second in (
            ("caching", "600", "HIT"),
            ("caching", "5", "HIT"),
            ("caching", "0", "MISS"),
            ("open", "600", "MISS"),
            ("opted", "600", "HIT"),
        ):
            asked = ({"cf-aig-cache-ttl": value}, b'{"model": "%b"}' % f"{gateway}-{value}".encode())
            self.assertEqual(self.cached(gateway, asked, asked), ["MISS", second], (gateway, value))

    def test_skip_cache(self) -> None:
        """`true` neither reads nor stores, by today's spelling and that of old."""
        self.store("caching", cache_ttl=300)
        for name in ("cf-aig-skip-cache", "cf-skip-cache"):
            body = b'{"model": "%b"}' % name.encode()
            skipping, plain = ({name: "true"}, body), ({name: "false"}, body)
            self.assertEqual(self.cached("caching", skipping, plain, plain, skipping), ["MISS", "MISS", "HIT", "MISS"])

    def test_cache_key(self) -> None:
        """It opts in, and is the key whatever is asked; not beyond the gateway."""
        one, other = ({"cf-aig-cache-key": "k"}, b'{"model": "a"}'), ({"cf-aig-cache-key": "k"}, b'{"model": "b"}')
        self.store("elsewhere")
        self.assertEqual(self.cached("open", one, other), ["MISS", "HIT"])
        self.assertEqual(self.cached("elsewhere", one), ["MISS"])

    def test_custom_cost(self) -> None:
        """What the request brings is what the log says it cost, whatever the price list knows."""
        for value, cost in ((COST, 1_000_000 + 200_000), ('{"total_cost": 0.5}', 500_000_000)):
            link, client = self.ask(headers=(("cf-aig-custom-cost", value),))
            self.call.answer(USAGE)
            link.settle()
            self.assertEqual(self.answer(client).status, 200)
            self.assertEqual((self.record.cost_nanousd, self.record.custom_cost), (cost, True), value)

"""What a client may write, what of it reaches the provider, and what is refused how."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.locks import HeldSettings
from aigw.values.step import Step
from aigw.wire.envelope import Envelope, read_message

MALFORMED, UNKNOWN_TYPE, MISSING, INVALID = 4000, 4001, 4002, 4003

ODD_QUERIES = (
    b"{}",
    b"[]",
    b"null",
    b"0",
    b'""',
    b'"query"',
    b'{"a" : [ 1,\t2,\r\n3 ] }',
    b'{"n":' + b"9" * 5000 + b"}",
    b'{"n":1.0000000000000000000000001e-400}',
    b'{"a":1,"a":2}',
    b'{"query":{"query":1},"provider":"x","type":"y","eventId":"z"}',
    b'{"t":"\\u0000"}',
    b'{"t":"\\ud800"}',
    b'{"t":"\\udc00\\ud800 \\ud83d\\ude00"}',
    b'{"t":"\\\\ud800"}',
    '{"t":"caf\u00e9 \U0001f600"}'.encode(),
    b'{"t":"\\/\\u0041"}',
)


def message(query: bytes = b"{}", before: bytes = b'"eventId":"a",', after: bytes = b"") -> bytes:
    """A request whose query is these bytes."""
    return (
        b'{"type":"universal.create","request":{%b"provider":"openai","endpoint":"chat/completions",'
        b'"headers":{"X":"1"},"query":%b%b}}' % (before, query, after)
    )


def read(payload: bytes | str | object, settings: dict[bytes, bytes] | None = None) -> Envelope:
    """Read a message: bytes, or a value as JSON."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return read_message(data, HeldSettings(settings or {}), 4, 20)


def request(**fields: Any) -> dict[str, Any]:
    """A request with other fields than usual; None leaves one out."""
    step = {"eventId": "a", "provider": "openai", "endpoint": "e", "headers": {}, "query": {}, **fields}
    return {"type": "universal.create", "request": {name: value for name, value in step.items() if value is not None}}


class GoodMessageTests(SynchronousTestCase):
    """Requests that are taken."""

    def test_request(self) -> None:
        """A request is its provider, endpoint, headers and query, under its event id."""
        envelope = read(message(b'{"model": "m"}'))
        self.assertEqual((envelope.event_id, envelope.refusal), ("a", None))
        (step,) = envelope.steps
        self.assertEqual(step, Step("openai", "chat/completions", ((b"x", b"1"),), b'{"model": "m"}'))

    def test_query_is_untouched(self) -> None:
        """Whatever legal JSON the query is, the provider gets the client's own bytes."""
        for query in ODD_QUERIES:
            (step,) = read(message(query)).steps
            self.assertEqual(step.query, query)

    def test_queries_of_several_steps_are_untouched(self) -> None:
        """Each step has its own query, also when two of them differ in a lone surrogate only."""
        for first in ODD_QUERIES:
            for second in (*ODD_QUERIES, b'{"t":"\\ud801"}', b'{"t":"\\u0041"}'):
                step = b'{"provider":"openai","endpoint":"e","query":%b}'
                payload = b'{"type":"universal.create","request":[%b,%b]}' % (step % first, step % second)
                envelope = read(payload)
                self.assertEqual([step.query for step in envelope.steps], [first, second])

    @given(
        st.lists(
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["query", "a"]), inner),
                max_leaves=6,
            ),
            min_size=1,
            max_size=4,
        ),
        st.sampled_from([(", ", ": "), (",", ":"), (" ,\n", " :\t")]),
        st.booleans(),
    )
    @settings(max_examples=200, deadline=None)
    def test_any_query(self, queries: list[object], separators: tuple[str, str], ascii_only: bool) -> None:
        """However a client's library spells its JSON, the queries are cut out of it exactly."""
        steps = [{"provider": "p", "headers": {"query": "1"}, "endpoint": "e", "query": query} for query in queries]
        value = {"request": steps, "eventId": "a", "type": "universal.create"}
        text = json.dumps(value, separators=separators, ensure_ascii=ascii_only)
        envelope = read(text.encode("utf-8", "surrogatepass"))
        self.assertIsNone(envelope.refusal)
        self.assertEqual([json.loads(step.query) for step in envelope.steps], queries)
        for step, query in zip(envelope.steps, queries, strict=True):
            own = json.dumps(query, separators=separators, ensure_ascii=ascii_only)
            self.assertEqual(step.query, own.encode("utf-8", "surrogatepass"))

    def test_key_spelt_with_escapes(self) -> None:
        """A client that writes `query` with an escape is understood."""
        payload = message(b'{"n":1}').replace(b'"query"', b'"qu\\u0065ry"')
        self.assertEqual(read(payload).steps[0].query, b'{"n":1}')

    def test_event_id(self) -> None:
        """The event id stands in the first step that has one, or beside the request; it may be missing."""
        steps = [{"provider": "p", "endpoint": "e", "query": {}}, {"provider": "p", "endpoint": "e", "query": {}}]
        self.assertEqual(read({"type": "universal.create", "request": steps}).event_id, "")
        self.assertEqual(read({"type": "universal.create", "request": steps, "eventId": "out"}).event_id, "out")
        named = [steps[0], {**steps[1], "eventId": "in"}]
        self.assertEqual(read({"type": "universal.create", "request": named}).event_id, "in")
        self.assertEqual(read(request(eventId="\U0001f600\n")).event_id, "\U0001f600\n")
        self.assertEqual(read(request(eventId="x" * 20)).event_id, "x" * 20)

    def test_headers(self) -> None:
        """Headers go to the provider in lower case; `cf-aig-*` ones are settings; values may be any JSON."""
        headers = {"X-A": "1", "cf-aig-Metadata": {"a": 1}, "CF-AIG-cache-ttl": 60, "x-b": True, "x-c": [1], "x-d": 1.5}
        (step,) = read(request(headers=headers)).steps
        self.assertEqual(step.headers, ((b"x-a", b"1"), (b"x-b", b"true"), (b"x-c", b"[1]"), (b"x-d", b"1.5")))
        self.assertEqual(step.settings, {b"cf-aig-metadata": b'{"a":1}', b"cf-aig-cache-ttl": b"60"})

    def test_settings_of_a_step_win(self) -> None:
        """A step's own settings go before those of the connection, and only its own."""
        steps = [
            {"provider": "p", "endpoint": "e", "query": {}, "headers": {"cf-aig-collect-log": "false"}},
            {"provider": "p", "endpoint": "e", "query": {}},
        ]
        envelope = read(
            {"type": "universal.create", "request": steps},
            {b"cf-aig-collect-log": b"true", b"cf-aig-metadata": b"{}"},
        )
        self.assertEqual(
            [step.settings for step in envelope.steps],
            [
                {b"cf-aig-collect-log": b"false", b"cf-aig-metadata": b"{}"},
                {b"cf-aig-collect-log": b"true", b"cf-aig-metadata": b"{}"},
            ],
        )

    def test_old_authorization(self) -> None:
        """The string of the oldest pages is the header of that name, unless there is one."""
        (step,) = read(request(authorization="Bearer sk-fake")).steps
        self.assertEqual(step.headers, ((b"authorization", b"Bearer sk-fake"),))
        (step,) = read(request(authorization="Bearer sk-fake", headers={"Authorization": "Bearer sk-own"})).steps
        self.assertEqual(step.headers, ((b"authorization", b"Bearer sk-own"),))

    def test_unknown_fields(self) -> None:
        """Fields that a later wire may add are passed over."""
        self.assertIsNone(read(request(later={"type": [1]})).refusal)
        self.assertIsNone(read({**request(), "later": 1}).refusal)


class BadMessageTests(SynchronousTestCase):
    """Messages that are refused: by code, with the event id where one can be read, and with a clear text."""

    def assert_refused(self, payload: object, code: int, event_id: str = "a") -> str:
        """A message is refused in this way; returns the error's text."""
        envelope = read(payload)
        error = envelope.refusal
        self.assertEqual(error.code if error else None, code, (payload, error))
        self.assertEqual((envelope.event_id, envelope.steps), (event_id, ()))
        text = error.message if error else ""
        self.assertLess(len(text), 400)
        return text

    def test_no_json(self) -> None:
        """What is no JSON at all is malformed."""
        for payload in (b"", b"nonsense", b"\0", b"{", b"\xef\xbb\xbf" + message(), message() + b"x", message()[:-1]):
            event_id = "a" if b"eventId" in payload else ""
            self.assert_refused(payload, MALFORMED, event_id)

    def test_no_object(self) -> None:
        """JSON that is no object is refused."""
        for payload in (b"null", b"[]", b"5", b'"text"', b"true"):
            self.assert_refused(payload, INVALID, "")

    def test_unknown_type(self) -> None:
        """A type that a client does not send is named in the refusal; very long ones are cut."""
        self.assertIn("`universal.crate`", self.assert_refused({**request(), "type": "universal.crate"}, UNKNOWN_TYPE))
        self.assert_refused({**request(), "type": "x" * 100_000}, UNKNOWN_TYPE)
        self.assert_refused({**request(), "type": ""}, UNKNOWN_TYPE)

    def test_missing_fields(self) -> None:
        """Each missing field is named."""
        self.assertIn("`type`", self.assert_refused({"request": request()["request"]}, MISSING))
        self.assertIn("`request`", self.assert_refused({"type": "universal.create", "eventId": "a"}, MISSING))
        self.assertIn("`request`", self.assert_refused({"type": "universal.create", "request": []}, MISSING, ""))
        for field in ("provider", "endpoint", "query"):
            text = self.assert_refused(request(**{field: None}), MISSING)
            self.assertIn(f"`{field}` of step 0", text)
        self.assert_refused(request(provider=""), MISSING)
        steps = [request()["request"], {"provider": "p"}]
        self.assertIn("step 1", self.assert_refused({"type": "universal.create", "request": steps}, MISSING))

    def test_wrong_types(self) -> None:
        """A field of another type than it has is invalid, and named."""
        for fields in ({"provider": 5}, {"endpoint": {}}, {"headers": []}, {"headers": "x"}, {"authorization": 1}):
            self.assertIn(next(iter(fields)), self.assert_refused(request(**fields), INVALID))
        self.assert_refused(request(eventId=5), INVALID, "")
        self.assert_refused({"type": 5, "eventId": "a"}, INVALID)
        self.assert_refused({"type": "universal.create", "request": "text", "eventId": "a"}, INVALID)
        self.assertIn("null", self.assert_refused(message(b"{}").replace(b'"1"', b"null"), INVALID))

    def test_event_id_too_long(self) -> None:
        """An event id that is too long is cut where it is sent back."""
        self.assertIn("20 characters", self.assert_refused(request(eventId="x" * 21), INVALID, "x" * 20))

    def test_too_many_steps(self) -> None:
        """A request with more steps than allowed is refused."""
        self.assert_refused({"type": "universal.create", "request": [request()["request"]] * 5}, INVALID)

    def test_nesting(self) -> None:
        """A hundred thousand brackets are refused, wherever they stand, and not with a crash."""
        deep = b"[" * 100_000 + b"]" * 100_000
        for payload in (
            message(deep),
            message(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
            message(after=b',"x":' + deep),
        ):
            self.assert_refused(payload, MALFORMED)
        self.assert_refused(deep, INVALID, "")

    def test_numbers(self) -> None:
        """What is no JSON number is malformed, also inside a query."""
        for number in (b"NaN", b"Infinity", b"-Infinity", b"01", b"+1", b"0x10", b"1."):
            self.assert_refused(message(b'{"n":%b}' % number), MALFORMED)

    def test_huge_number_outside_the_query(self) -> None:
        """A number of 5,000 digits is passed over where nobody reads it, and refused as a header."""
        digits = b"9" * 5000
        self.assertIsNone(read(message(after=b',"later":' + digits)).refusal)
        envelope = read(message().replace(b'"1"', digits))
        self.assertIn(envelope.refusal.code if envelope.refusal else 0, (MALFORMED, INVALID))
        self.assertEqual(envelope.event_id, "a")

    def test_invalid_utf8(self) -> None:
        """Bytes that are no UTF-8 are refused, and the refusal says where."""
        for bad in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3"):
            text = self.assert_refused(message(b'{"t":"%b"}' % bad), MALFORMED)
            self.assertIn("invalid UTF-8 at byte", text)

    def test_control_bytes(self) -> None:
        """A bare NUL or line end within a string is no JSON."""
        for bad in (b"\0", b"\n", b"\x1f"):
            self.assert_refused(message(b'{"t":"%b"}' % bad), MALFORMED)

    def test_lone_surrogate_outside_the_query(self) -> None:
        """A lone surrogate means nothing as an id, a slug or a header, and is refused there."""
        for fields in ({"provider": "\ud800"}, {"endpoint": "\udfff"}, {"headers": {"X": "\ud800"}}):
            self.assert_refused(request(**fields), MALFORMED)
        self.assert_refused(request(eventId="\ud800"), MALFORMED, "")
        self.assert_refused(request(eventId="\ud800", query="\ud800"), MALFORMED, "")
        self.assert_refused(request(headers={"query": "\ud800"}, query="\ud800"), MALFORMED)

    def test_repeated_keys(self) -> None:
        """A key of the envelope that stands twice could mean two requests, and is refused."""
        for name in (b"provider", b"endpoint", b"query", b"headers", b"eventId"):
            value = b"{}" if name in (b"query", b"headers") else b'"a"'
            payload = message(after=b',"%b":%b' % (name, value))
            self.assertIn(f"`{name.decode()}`", self.assert_refused(payload, MALFORMED))
        self.assert_refused(message()[:-1] + b',"type":"universal.create"}', MALFORMED)
        self.assert_refused(message()[:-1] + b',"request":{}}', MALFORMED, "")

    def test_repeated_keys_of_a_later_step(self) -> None:
        """The same holds for every step of a list."""
        step = b'{"provider":"openai","endpoint":"e","query":{}}'
        twice = b'{"provider":"openai","provider":"groq","endpoint":"e","query":{}}'
        payload = b'{"eventId":"a","type":"universal.create","request":[%b,%b]}' % (step, twice)
        self.assert_refused(payload, MALFORMED)

    @given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ud8a0', max_size=40).map(str.encode))
    @settings(max_examples=300, deadline=None)
    def test_anything_is_read_or_refused(self, payload: bytes) -> None:
        """No bytes make the reader raise."""
        envelope = read(payload)
        self.assertNotEqual(envelope.refusal is None, not envelope.steps)

    @given(st.integers(0, 200), st.integers(0, 255))
    @settings(max_examples=300, deadline=None)
    def test_damaged_messages(self, at: int, byte: int) -> None:
        """A good message with one wrong byte is read or refused, never a crash."""
        payload = bytearray(message(b'{"t":"\\ud800"}'))
        payload[at % len(payload)] = byte
        envelope = read(bytes(payload))
        self.assertNotEqual(envelope.refusal is None, not envelope.steps)

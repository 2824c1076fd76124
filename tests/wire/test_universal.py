"""The universal WebSocket, from message to message."""

from __future__ import annotations

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.token_file import TokenEntry
from aigw.controls.token_text import digest_of
from aigw.errors import ConnectFailed, FirstByteTimeout
from aigw.serving.limits import SocketLimits
from aigw.testing.data_port import MemoryDataPort
from aigw.testing.upstream import EVENT_STREAM, ScriptedCall
from aigw.values.token import Token
from tests.dispatch.parts import SteppedSink


def step(provider: str = "openai", endpoint: str = "chat/completions", **fields: Any) -> dict[str, Any]:
    """A step of a request."""
    return {"provider": provider, "endpoint": endpoint, "headers": {}, "query": {"model": "m"}, **fields}


class SocketCase(SynchronousTestCase):
    """A client on a data port."""

    limits = SocketLimits(in_flight=3)

    def setUp(self) -> None:
        self.port = MemoryDataPort(sockets=self.limits)
        self.link, self.client = self.port.connect()

    def ask(self, event_id: str | None, *steps: dict[str, Any]) -> ScriptedCall:
        """Send a request; returns the latest call to a provider."""
        listed = list(steps or (step(),))
        message = {"type": "universal.create", "request": listed[0] if len(listed) == 1 else listed}
        if event_id is not None:
            message["request"] = {**listed[0], "eventId": event_id} if len(listed) == 1 else message["request"]
            message["eventId"] = event_id
        self.client.send(message)
        self.link.settle()
        return self.port.upstream.last if self.port.upstream.calls else None  # type: ignore[return-value]

    def codes(self, event_id: str) -> list[int]:
        """The codes of the gateway's own errors about a request."""
        return [message["response"]["internalCode"] for message in self.client.about(event_id)]


class AnswerTests(SocketCase):
    """Whole answers and streams."""

    def test_stream_of_openai(self) -> None:
        """A stream is created, its payloads come one a message without the end mark, and it is done."""
        call = self.ask("a")
        call.head(headers=EVENT_STREAM)
        call.events(b'{"n":1}', b'{"n":2}', b"[DONE]")
        call.complete()
        self.link.settle()
        created, first, second, done = self.client.about("a")
        self.assertEqual(created["type"], "universal.created")
        self.assertNotIn("response", created)
        self.assertEqual([m["type"] for m in (first, second)], ["universal.stream"] * 2)
        self.assertEqual([m["response"] for m in (first, second)], [{"n": 1}, {"n": 2}])
        self.assertEqual((done["type"], done["metadata"]["complete"]), ("universal.done", True))
        self.assertEqual(done["metadata"]["logId"], created["metadata"]["logId"])
        self.assertEqual((created["metadata"]["status"], done["metadata"]["status"]), (200, 200))

    def test_stream_with_event_names(self) -> None:
        """Events with names, as Anthropic sends them, arrive as their payloads alone."""
        call = self.ask("a", step("anthropic", "v1/messages"))
        call.head(headers=EVENT_STREAM)
        call.data(b'event: ping\ndata: {"type":"ping"}\n\n: a comment\n\n')
        call.data(b'event: message_stop\r\ndata: {"type":\r\ndata: "message_stop"}\r\n\r\n')
        call.complete()
        self.link.settle()
        messages = self.client.about("a")
        self.assertEqual([m.get("response") for m in messages[1:3]], [{"type": "ping"}, {"type": "message_stop"}])
        self.assertEqual((messages[3]["type"], messages[3]["metadata"]["complete"]), ("universal.done", True))

    def test_odd_payloads(self) -> None:
        """Payloads that are no JSON arrive as strings, and nothing breaks the socket."""
        call = self.ask("a")
        call.head(headers=EVENT_STREAM)
        call.events(b"hello", b"\xff", b'{"t":"\\ud800"}', b"[DONE]")
        call.complete()
        self.link.settle()
        self.assertEqual(
            [message.get("response") for message in self.client.about("a")[1:4]],
            ["hello", "\ufffd", {"t": "\ud800"}],
        )
        self.assertTrue(self.client.is_connected)

    def test_truncated_stream(self) -> None:
        """A stream that stops without its end mark is done, and says that it is not complete."""
        call = self.ask("a")
        call.head(headers=EVENT_STREAM)
        call.events(b"1")
        call.complete()
        self.link.settle()
        last = self.client.about("a")[-1]
        self.assertEqual((last["type"], last["metadata"]["complete"]), ("universal.done", False))
        self.assertEqual(last["metadata"]["error"]["code"], 4024)

    def test_provider_that_cannot_be_reached(self) -> None:
        """A failure before any answer is one message, with everything a client needs to tell what it is about."""
        self.ask("a").fail(ConnectFailed())
        self.link.settle()
        (message,) = self.client.about("a")
        self.assertEqual(message["response"]["internalCode"], 2005)
        self.assertEqual(set(message["metadata"]), {"cacheStatus", "eventId", "logId", "step", "contentType", "status"})

    def test_error_of_the_provider(self) -> None:
        """A provider's own error is the response, under its own status."""
        self.ask("a").answer(b'{"error":{"message":"slow down"}}', status=429)
        self.link.settle()
        (message,) = self.client.about("a")
        self.assertEqual(message["response"], {"error": {"message": "slow down"}})
        self.assertEqual(message["metadata"]["status"], 429)

    def test_sound(self) -> None:
        """A sound arrives in base64."""
        self.ask("a", step(endpoint="audio/speech")).answer(b"\xff\xf3", headers=((b"content-type", b"audio/mpeg"),))
        self.link.settle()
        (message,) = self.client.about("a")
        self.assertEqual((message["response"], message["metadata"]["contentType"]), ("//M=", "audio/mpeg"))

    def test_answer_without_an_id(self) -> None:
        """A request without an event id is answered under its log id."""
        self.ask(None).answer(b"{}")
        self.link.settle()
        (message,) = self.client.messages
        self.assertEqual(message["metadata"]["eventId"], message["metadata"]["logId"])

    def test_binary_frame(self) -> None:
        """A request in a binary frame is a request; the answer is text."""
        self.client.sendMessage(b'{"type":"universal.create","eventId":"a","request":{}}', True)
        self.link.settle()
        self.assertEqual(self.codes("a"), [4002])

    def test_what_the_provider_gets(self) -> None:
        """The provider gets the client's own bytes and headers, and none of the gateway's."""
        self.client.send(
            '{"type":"universal.create","request":{"eventId":"a","provider":"openai","endpoint":"chat/completions?x=1",'
            '"headers":{"Authorization":"Bearer sk-fake","cf-aig-metadata":"{}","Content-Type":"application/json"},'
            '"query":{"b" : 1e2,\n "a":"\\u0041", "a":2}}}'
        )
        self.link.settle()
        request = self.port.upstream.last.request
        self.assertEqual(request.body, b'{"b" : 1e2,\n "a":"\\u0041", "a":2}')
        self.assertEqual((request.method, request.url), (b"POST", b"https://api.openai.com/v1/chat/completions?x=1"))
        headers = dict(request.headers)
        self.assertEqual(headers[b"authorization"], b"Bearer sk-fake")
        self.assertFalse([name for name in headers if name.startswith(b"cf-aig-")])

    def test_steps(self) -> None:
        """A list of steps is tried in order, and the answer tells which one gave it."""
        self.ask("a", step(), step("groq")).fail(FirstByteTimeout())
        self.port.upstream.last.answer(b"{}")
        self.link.settle()
        (message,) = self.client.about("a")
        self.assertEqual(message["metadata"]["step"], "1")


class ManyTests(SocketCase):
    """Many requests on one socket."""

    limits = SocketLimits(in_flight=200)

    def test_interleaved(self) -> None:
        """Two hundred streams at once, in any order: each arrives whole, in its own order, under its own id."""
        calls = {}
        for number in range(200):
            calls[f"e{number}"] = self.ask(f"e{number}")
        pieces = {event_id: [b"%d" % n for n in range(5)] for event_id in calls}
        turns = [event_id for event_id in calls for _ in range(5)]
        random.Random(1).shuffle(turns)
        for call in calls.values():
            call.head(headers=EVENT_STREAM)
        for event_id in turns:
            calls[event_id].events(pieces[event_id].pop(0))
        for event_id in reversed(calls):
            calls[event_id].events(b"[DONE]")
            calls[event_id].complete()
        self.link.settle()
        for event_id in calls:
            messages = self.client.about(event_id)
            self.assertEqual([m.get("response") for m in messages], [None, 0, 1, 2, 3, 4, None])
            self.assertEqual(messages[-1]["type"], "universal.done")
        self.assertEqual(len({end.origin.id for end in self.port.sink.ended}), 200)

    def test_bad_neighbour(self) -> None:
        """Messages that are refused, in between, disturb nobody."""
        call = self.ask("good")
        call.head(headers=EVENT_STREAM)
        for bad in ("nonsense", b"\xff", "[" * 100_000, '{"type":"x","eventId":"bad"}', '{"eventId":"bad","type":'):
            self.client.send(bad)
        self.link.settle()
        self.assertEqual(self.codes("bad"), [4001, 4000])
        call.events(b"1", b"[DONE]")
        call.complete()
        self.link.settle()
        self.assertEqual([m["type"][10:] for m in self.client.about("good")], ["created", "stream", "done"])
        self.assertEqual(len(self.port.sink.ended), 6)


class LimitTests(SocketCase):
    """What one socket may have at a time."""

    def test_event_id_in_flight(self) -> None:
        """A second request with an id that is in flight is refused with code 4005; the first goes on."""
        call = self.ask("a")
        self.ask("a")
        self.assertEqual(self.codes("a"), [4005])
        self.assertEqual(len(self.port.upstream.calls), 1)
        call.answer(b'{"first":true}')
        self.link.settle()
        self.assertEqual(self.client.about("a")[-1]["response"], {"first": True})

    def test_refused_twin_takes_no_place(self) -> None:
        """After a second request with its id was refused, the first one still stops with its client."""
        call = self.ask("a")
        self.ask("a")
        self.link.vanish()
        self.assertTrue(call.stopped)

    def test_event_id_after_its_end(self) -> None:
        """An id whose request is over may be used again."""
        self.ask("a").answer(b"1")
        self.link.settle()
        self.ask("a").answer(b"2")
        self.link.settle()
        self.assertEqual([message["response"] for message in self.client.about("a")], [1, 2])

    def test_requests_in_flight(self) -> None:
        """One request more than allowed is refused with code 4006, may be tried again, and leaves a row."""
        calls = [self.ask(f"e{number}") for number in range(3)]
        self.ask("more")
        self.assertEqual(self.codes("more"), [4006])
        self.assertIs(self.client.about("more")[0]["response"]["retryable"], True)
        self.assertEqual([end.error_code for end in self.port.sink.ended], [4006])
        calls[0].answer(b"{}")
        self.link.settle()
        self.ask("more").answer(b'"now"')
        self.link.settle()
        self.assertEqual(self.client.about("more")[-1]["response"], "now")

    def test_full_spool(self) -> None:
        """While the log cannot take a request, it is refused with code 4011, and the socket lives on."""
        self.port.sink.accepting = False
        self.ask("a")
        self.assertEqual(self.codes("a"), [4011])
        self.port.sink.accepting = True
        self.ask("a").answer(b"{}")
        self.link.settle()
        self.assertEqual(self.client.about("a")[-1]["response"], {})


class SettingsTests(SynchronousTestCase):
    """Settings given as headers of the upgrade."""

    def record_after(self, headers: dict[str, str], own: dict[str, str]) -> Any:
        """The record of a request under these headers of the upgrade, and these of its own."""
        port = MemoryDataPort()
        link, client = port.connect(headers=headers)
        client.send({"type": "universal.create", "request": step(eventId="a", headers=own)})
        link.settle()
        port.upstream.last.answer(b"{}")
        link.settle()
        (record,) = port.sink.ended
        return record

    def test_upgrade_holds_for_every_request(self) -> None:
        """What stands on the upgrade counts for each request of the socket."""
        record = self.record_after({"cf-aig-collect-log-payload": "false", "CF-AIG-Metadata": '{"a":1}'}, {})
        self.assertEqual((record.response_body, record.origin.metadata), (None, b'{"a":1}'))

    def test_request_wins(self) -> None:
        """A request's own header goes before the upgrade's."""
        record = self.record_after({"cf-aig-collect-log-payload": "false"}, {"CF-AIG-collect-log-payload": "true"})
        self.assertEqual(record.response_body, b"{}")

    def test_request_timeout(self) -> None:
        """`cf-aig-request-timeout` reaches the provider's clocks."""
        port = MemoryDataPort()
        link, client = port.connect(headers={"cf-aig-request-timeout": "5000"})
        client.send({"type": "universal.create", "request": step(eventId="a")})
        client.send({"type": "universal.create", "request": step(headers={"cf-aig-request-timeout": 250})})
        link.settle()
        self.assertEqual([call.request.clocks.first_byte_s for call in port.upstream.calls], [5.0, 0.25])


class ExpiryTests(SocketCase):
    """A token that ends while its socket is open."""

    def setUp(self) -> None:
        super().setUp()
        text = "aigw_" + "1" * 43
        digest = digest_of(text.encode())
        assert digest is not None
        now_ms = self.port.utc_ms()
        ending = Token("tok_short", "short", frozenset(("run",)), "local", None, now_ms, expires_ms=now_ms + 5_000)
        self.port.tokens.adopt([TokenEntry(digest, ending)])
        self.link, self.client = self.port.connect(headers={"cf-aig-authorization": text})

    def test_expired_token(self) -> None:
        """A request after the token's end is refused and its socket closed; what ran before still gets its answer."""
        running = self.ask("before")
        self.port.clock.advance(6)
        self.ask("after")
        self.assertEqual(self.codes("after"), [2009])
        self.assertTrue(self.client.is_connected)
        running.answer(b"{}")
        self.link.settle()
        self.assertEqual(self.client.about("before")[0]["response"], {})
        self.assertEqual(self.client.close_code, 1008)
        self.assertEqual(len(self.port.upstream.calls), 1)


class DrainTests(SocketCase):
    """A gateway that is about to stop."""

    def test_idle_socket_is_closed(self) -> None:
        """A socket without requests is closed with 1001 at once."""
        empty = self.port.port.when_empty()
        self.port.port.drain()
        self.link.settle()
        self.assertEqual(self.client.close_code, 1001)
        self.successResultOf(empty)

    def test_running_request_finishes(self) -> None:
        """What runs is finished; what is new is refused and may be tried elsewhere; then the socket is closed."""
        call = self.ask("a")
        self.port.dispatcher.draining = True
        self.port.port.drain()
        self.ask("late")
        self.assertEqual(self.codes("late"), [4010])
        self.assertTrue(self.client.is_connected)
        call.answer(b"{}")
        self.link.settle()
        self.assertEqual(self.client.about("a")[0]["response"], {})
        self.assertEqual(self.client.close_code, 1001)

    def test_final_frame_leaves_before_the_close(self) -> None:
        """A request that the drain cuts off has its ending on the wire before the socket is closed."""
        self.ask("a").head(headers=EVENT_STREAM)
        self.port.port.drain()
        self.port.dispatcher.abandon_all()
        self.link.settle()
        last = self.client.about("a")[-1]
        self.assertEqual((last["type"], last["metadata"]["error"]["code"]), ("universal.done", 4992))
        self.assertEqual(self.client.close_code, 1001)

    def test_revoked_token(self) -> None:
        """A token that is revoked loses its socket with 1008, and its providers are left."""
        call = self.ask("a")
        self.port.port.close_token("")
        self.link.settle()
        self.assertEqual(self.client.close_code, 1008)
        self.assertTrue(call.stopped)


class RecordFirstTests(SynchronousTestCase):
    """The log goes before the client."""

    def test_final_frame_waits_for_its_record(self) -> None:
        """The pieces of a stream pass at once; the frame that completes it waits until its row is safe."""
        sink = SteppedSink(MemoryDataPort().clock)
        port = MemoryDataPort(sink=sink)
        link, client = port.connect()
        client.send({"type": "universal.create", "request": step(eventId="a")})
        link.settle()
        self.assertEqual(port.upstream.calls, [])
        sink.flush()
        call = port.upstream.last
        call.head(headers=EVENT_STREAM)
        call.events(b"1", b"[DONE]")
        call.complete()
        link.settle()
        self.assertEqual([m["type"][10:] for m in client.about("a")], ["created", "stream"])
        sink.flush()
        link.settle()
        self.assertEqual([m["type"][10:] for m in client.about("a")], ["created", "stream", "done"])

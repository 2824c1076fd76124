"""The bounds of a WebSocket: each one is in force, and none can be switched off."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aigw.serving.limits import HttpLimits, SocketLimits
from aigw.serving.websocket import GatewaySocketFactory
from aigw.serving.wheel import Wheel
from aigw.testing.data_port import MemoryDataPort
from aigw.testing.socket import Link, SocketClient
from aigw.testing.upstream import EVENT_STREAM

TEXT, CONTINUATION, CLOSE, PING = 1, 0, 8, 9


def frame(opcode: int, payload: bytes = b"", fin: bool = True, length: int | None = None) -> bytes:
    """
    A frame as a client sends it, masked with zeros.

    Args:
        opcode, payload, fin: Of the frame.
        length: What its head claims, when that is not the payload's length.
    """
    count = len(payload) if length is None else length
    first = opcode | (0x80 if fin else 0)
    if count < 126:
        head = struct.pack("!BB", first, 0x80 | count)
    elif count < 65_536:
        head = struct.pack("!BBH", first, 0x80 | 126, count)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, count)
    return head + b"\0\0\0\0" + payload


def ask(event_id: str = "a", text: str = "") -> dict[str, Any]:
    """A request for a chat."""
    return {
        "type": "universal.create",
        "request": {
            "eventId": event_id,
            "provider": "openai",
            "endpoint": "chat/completions",
            "headers": {},
            "query": {"model": "m", "text": text},
        },
    }


class SocketCase(SynchronousTestCase):
    """A client on a data port with small bounds."""

    limits = SocketLimits(
        sockets=2,
        message_bytes=4_000,
        frame_bytes=3_000,
        frames_per_message=8,
        message_s=5.0,
        ping_interval_s=10.0,
        ping_timeout_s=4.0,
        stalled_s=30.0,
        handshake_s=3.0,
        waiting_bytes=10_000,
    )

    def setUp(self) -> None:
        self.port = MemoryDataPort(sockets=self.limits)
        self.link, self.client = self.port.connect()
        self.sessions = set(self.port.port.sessions)

    def raw(self, *frames: bytes) -> None:
        """Send bytes of the client's own making."""
        for data in frames:
            self.link.client_pipe.write(data)
        self.link.settle()

    def assert_alive(self, link: Link | None = None, client: SocketClient | None = None) -> None:
        """The socket still serves."""
        link, client = link or self.link, client or self.client
        before = len(client.texts)
        client.send(ask("still-alive"))
        link.settle()
        self.port.upstream.last.answer(b"{}")
        link.settle()
        self.assertEqual(len(client.texts), before + 1)

    def assert_closed(self, code: int | None) -> None:
        """The gateway has closed the socket, or does so when no answer to its close comes; None for without a word."""
        self.link.advance(self.limits.handshake_s + 0.5)
        self.assertFalse(self.client.is_connected)
        self.assertEqual(self.client.close_code, code or 1006)
        self.assertTrue(self.link.closed)
        self.assertEqual(self.port.socket_factory.open_sockets, 0)
        self.assertEqual(self.port.socket_factory.unfinished, {})
        self.assertEqual(self.port.port.sessions, set())


class MessageBoundTests(SocketCase):
    """What a client may send."""

    def test_largest_message_passes(self) -> None:
        """A message of exactly the allowed size, in frames of the allowed size, is served."""
        self.raw(frame(TEXT, b" " * 3_000, fin=False), frame(CONTINUATION, b"x" * 1_000))
        self.assertEqual(self.client.messages[0]["response"]["internalCode"], 4000)
        self.assert_alive()

    def test_message_too_large(self) -> None:
        """A message longer than allowed closes the socket with 1009, before its last byte was sent."""
        self.raw(frame(TEXT, b" " * 3_000, fin=False), frame(CONTINUATION, b"", length=1_001))
        self.assert_closed(1009)

    def test_frame_too_large(self) -> None:
        """A frame longer than allowed closes the socket with 1009 as soon as its head tells so."""
        self.raw(frame(TEXT, b"", length=3_001))
        self.assert_closed(1009)

    def test_frames_of_a_message(self) -> None:
        """A message in more pieces than allowed closes the socket with 1008; empty ones count."""
        self.raw(frame(TEXT, b"", fin=False), *[frame(CONTINUATION, b"", fin=False)] * 7)
        self.assertTrue(self.client.is_connected)
        self.raw(frame(CONTINUATION, b"", fin=False))
        self.assert_closed(1008)

    def test_count_of_frames_starts_anew(self) -> None:
        """A client that always sends eight pieces a message is welcome."""
        for _ in range(3):
            self.raw(frame(TEXT, b"", fin=False), *[frame(CONTINUATION, b"", fin=False)] * 6, frame(CONTINUATION))
        self.assert_alive()

    def test_unfinished_message(self) -> None:
        """A message that is begun and not ended in time closes the socket with 1008."""
        self.raw(frame(TEXT, b"{", fin=False))
        self.link.advance(4.5)
        self.assertTrue(self.client.is_connected)
        self.link.advance(1.0)
        self.assert_closed(1008)

    def test_unfinished_frame(self) -> None:
        """Half a frame's head, and then nothing, closes the socket as well."""
        self.raw(b"\x81")
        self.link.advance(6.0)
        self.assert_closed(1008)

    def test_pings_do_not_prolong_a_message(self) -> None:
        """Pings between the pieces of a message buy it no time."""
        self.raw(frame(TEXT, b"{", fin=False))
        for _ in range(6):
            self.link.advance(1.0)
            self.raw(frame(PING))
        self.assert_closed(1008)

    def test_steady_upload_lives(self) -> None:
        """A client whose messages follow so closely that one is always under way keeps its socket."""
        # A pong would stand in the middle of a frame of ours; a whole message is a sign of life, too.
        self.client.answers_pings = False
        half = frame(TEXT, b"x" * 100)
        self.raw(half[:50])
        for _ in range(20):
            self.link.advance(1.0)
            self.raw(half[50:] + half[:50])
        self.assertTrue(self.client.is_connected)
        self.assertEqual(len(self.client.texts), 20)

    def test_steady_pings_live(self) -> None:
        """A client whose pings are cut by the network, each in the middle, keeps its socket."""
        self.client.answers_pings = False
        ping = frame(PING, b"here")
        self.raw(ping[:5])
        for _ in range(9):
            self.link.advance(1.0)
            self.raw(ping[5:] + ping[:5])
        self.assertTrue(self.client.is_connected)

    def test_finished_message_stops_the_clock(self) -> None:
        """A message in two parts, completed in time, leaves no clock behind."""
        self.raw(frame(TEXT, b"x")[:3])
        self.link.advance(4.0)
        self.raw(frame(TEXT, b"x")[3:])
        self.link.advance(8.0)
        self.assert_alive()

    def test_unmasked_frame(self) -> None:
        """A frame that breaks the protocol closes the socket with 1002."""
        self.raw(b"\x81\x01x")
        self.assert_closed(1002)

    def test_compression_is_not_agreed(self) -> None:
        """An offer of compression is passed over: no few bytes can become a gigabyte."""
        link, client = self.port.connect(headers={"Sec-WebSocket-Extensions": "permessage-deflate"})
        self.assertTrue(client.is_connected)
        self.assertNotIn("sec-websocket-extensions", client.http_headers)
        self.assert_alive(link, client)

    def test_frames_behind_the_upgrade(self) -> None:
        """A client that sends its first message without waiting for the answer to its upgrade is answered."""
        head = (
            b"GET /v1/local/default HTTP/1.1\r\nHost: gateway.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        _, client = self.port.connect_raw(head + frame(TEXT, b"nonsense"))
        self.assertIn(b"101 Switching Protocols", client.received)
        self.assertIn(b'"internalCode":4000', client.received)


class LeavingTests(SocketCase):
    """How a socket ends, and what ends with it."""

    def start_stream(self) -> None:
        """Have a stream under way."""
        self.client.send(ask())
        self.link.settle()
        self.port.upstream.last.head(headers=EVENT_STREAM)
        self.link.settle()

    def assert_stopped(self) -> None:
        """The provider was left, and the row says why."""
        self.assertTrue(self.port.upstream.last.stopped)
        self.link.settle()
        self.assertEqual([end.error_code for end in self.port.sink.ended], [4990])

    def test_client_that_vanishes_stops_its_provider(self) -> None:
        """When the client's machine is gone, the provider's request is closed and the row says so."""
        self.start_stream()
        self.link.vanish()
        self.assert_stopped()

    def test_client_that_says_goodbye_stops_its_provider(self) -> None:
        """When the client closes in order, the provider's request is closed."""
        self.start_stream()
        self.client.sendClose(1000)
        self.link.settle()
        self.assert_stopped()
        self.assertEqual(self.client.close_code, 1000)

    def test_goodbye_of_a_client_that_does_not_read(self) -> None:
        """A client that says goodbye and leaves our bytes unread stops its provider at once, and is cut off soon."""
        self.start_stream()
        self.link.client_pipe.reading = False
        self.port.upstream.last.events(b'"' + b"x" * 9_000 + b'"')
        self.client.sendClose(1000)
        self.link.settle()
        self.assert_stopped()
        self.assertFalse(self.link.closed)
        self.link.advance(4.0)
        self.assertTrue(self.link.closed)

    def test_answer_larger_than_a_message_may_be(self) -> None:
        """The bound on what a client may send does not cut off what a provider answers."""
        self.client.send(ask())
        self.link.settle()
        self.port.upstream.last.answer(b'"' + b"x" * 8_000 + b'"')
        self.link.settle()
        self.assertEqual(len(self.client.messages[0]["response"]), 8_000)

    def test_close_codes(self) -> None:
        """The gateway closes with the code that says why, and the client sees it."""
        for code in (1001, 1008, 1011):
            link, client = self.port.connect()
            session = next(iter(self.port.port.sessions - self.sessions))
            session.close(code, "why")
            link.settle()
            self.assertEqual((client.close_code, client.close_reason), (code, "why"))

    def test_closing_stops_the_providers(self) -> None:
        """When the gateway fails a socket, nothing can be answered there any more: its providers are left at once."""
        self.start_stream()
        self.link.client_pipe.reading = False
        self.raw(frame(TEXT, b"", length=3_001))
        self.assert_stopped()
        self.assertFalse(self.link.closed)
        # The provider's last words find no socket, and harm nothing.
        self.port.upstream.last.events(b"1")
        self.link.advance(4.0)
        self.assertTrue(self.link.closed)

    def test_request_behind_our_close_is_not_made(self) -> None:
        """A socket that is being closed, because its token was revoked, asks no provider any more."""
        self.link.client_pipe.reading = False
        for session in list(self.port.port.sessions):
            session.close(1008, "the token was revoked")
        self.client.send(ask())
        self.link.settle()
        self.assertEqual(self.port.upstream.calls, [])


class SilenceTests(SocketCase):
    """Clients that are dead, slow, or hostile."""

    def fill(self, count: int = 1) -> None:
        """Send more than the client takes, on a stream."""
        self.client.send(ask())
        self.link.settle()
        self.link.client_pipe.reading = False
        self.port.upstream.last.head(headers=EVENT_STREAM)
        for _ in range(count):
            self.port.upstream.last.events(b'"' + b"x" * 6_000 + b'"')
        self.link.settle()

    def test_silent_client_is_pinged(self) -> None:
        """A quiet client gets a ping, answers, and stays."""
        self.link.advance(35.0)
        self.assertEqual(len(self.client.pings), 3)
        self.assert_alive()

    def test_dead_client_is_dropped(self) -> None:
        """A client that answers no ping is dropped without a word, and its provider is left."""
        self.client.answers_pings = False
        self.client.send(ask())
        self.link.settle()
        self.link.advance(13.5)
        self.assertTrue(self.client.is_connected)
        self.link.advance(1.0)
        self.assert_closed(None)
        self.assertTrue(self.port.upstream.last.stopped)

    def test_slow_reader_pauses_its_provider_and_no_other(self) -> None:
        """A client that does not read pauses its own provider, once; another client's goes on."""
        other_link, other = self.port.connect()
        other.send(ask("other"))
        other_link.settle()
        others_call = self.port.upstream.last
        self.fill(2)
        self.assertTrue(self.port.upstream.last.paused)
        self.assertFalse(others_call.paused)
        self.assertFalse(self.link.server_pipe.reading)
        self.assertTrue(other_link.server_pipe.reading)

    def test_slow_reader_that_catches_up(self) -> None:
        """When the client reads again, everything arrives in order and the provider goes on."""
        self.fill(2)
        call = self.port.upstream.last
        call.events(b'"kept"')
        self.link.client_pipe.reading = True
        self.link.settle()
        self.assertFalse(call.paused)
        self.assertTrue(self.link.server_pipe.reading)
        call.events(b"[DONE]")
        call.complete()
        self.link.settle()
        kinds = [message["type"] for message in self.client.messages]
        self.assertEqual(kinds, ["universal.created", *["universal.stream"] * 3, "universal.done"])
        self.assertEqual(self.client.messages[3]["response"], "kept")

    def test_request_of_a_slow_reader_begins_paused(self) -> None:
        """A request that was already read when its client turned slow does not fill the buffer further."""
        self.fill(2)
        self.link.server_pipe.protocol.dataReceived(frame(TEXT, msgspec.json.encode(ask("b"))))
        self.link.settle()
        self.assertEqual(len(self.port.upstream.calls), 2)
        self.assertTrue(self.port.upstream.last.paused)

    def test_client_that_reads_a_little_is_not_dead(self) -> None:
        """A client that reads slowly, but reads, keeps its socket beyond `stalled_s`, though its pong is not seen."""
        self.fill(2)
        outbox = self.link.server_pipe.protocol.outbox
        stream = outbox.stream()
        for _ in range(40):
            stream.put(b"y" * 9_000)
        for _ in range(15):
            self.link.advance(5.0)
            self.link.read_some(20_000)
            self.assertTrue(outbox.paused)
        self.assertFalse(self.link.closed)

    def test_stalled_client_is_dropped(self) -> None:
        """A client that reads nothing at all for `stalled_s` is dropped, and its provider is left."""
        self.fill(2)
        self.link.advance(29.0)
        self.assertFalse(self.link.closed)
        self.link.advance(10.0)
        self.assertTrue(self.link.closed)
        self.assertTrue(self.port.upstream.last.stopped)

    def test_slow_client_has_time_for_its_pong(self) -> None:
        """A client that has just caught up is not dropped for a pong that waited behind our own bytes."""
        self.fill(2)
        self.link.advance(12.0)
        self.link.client_pipe.reading = True
        self.link.advance(30.0)
        self.assertTrue(self.client.is_connected)

    def test_ping_flood_without_reading(self) -> None:
        """A client that sends pings and reads no pong stops being read; our buffer stays small."""
        self.link.client_pipe.reading = False
        flood = frame(PING, b"p" * 100) * 50
        for _ in range(100):
            self.link.client_pipe.write(flood)
            self.link.settle()
        self.assertFalse(self.link.server_pipe.reading)
        self.assertLess(self.link.server_pipe.waiting_bytes, self.limits.waiting_bytes + len(flood))


class BoundsTests(SynchronousTestCase):
    """No bound is off."""

    def test_every_limit_has_a_floor(self) -> None:
        """No setting of the sockets or of HTTP can be put to nothing."""
        for kind in (SocketLimits, HttpLimits):
            for field in msgspec.structs.fields(kind):
                if field.name in ("allowed_origins", "body_bytes"):
                    continue
                with self.assertRaises(msgspec.ValidationError, msg=field.name):
                    msgspec.convert({field.name: 0}, kind)
                with self.assertRaises(msgspec.ValidationError, msg=field.name):
                    msgspec.convert({field.name: -1}, kind)
                self.assertGreater(getattr(kind(), field.name), 0)

    def test_every_limit_reaches_autobahn(self) -> None:
        """None of Autobahn's own bounds is left at its default, which is none."""
        limits = SocketLimits()
        factory = GatewaySocketFactory(Clock(), Clock(), Wheel(Clock()), limits)
        self.assertEqual(
            (
                factory.maxFramePayloadSize,
                factory.maxMessagePayloadSize,
                factory.openHandshakeTimeout,
                factory.closeHandshakeTimeout,
                factory.autoPingInterval,
                factory.autoPingTimeout,
                factory.maxConnections,
            ),
            (
                limits.frame_bytes,
                limits.message_bytes,
                limits.handshake_s,
                limits.handshake_s,
                limits.ping_interval_s,
                limits.ping_timeout_s,
                limits.sockets,
            ),
        )
        for name, value in vars(factory).items():
            if name.startswith(("max", "autoPing")) or name.endswith("Timeout"):
                self.assertTrue(value, name)
        self.assertIsNone(factory.perMessageCompressionAccept([]))
        self.assertTrue(factory.requireMaskedClientFrames)

    def test_unfinished_clock_ends_with_its_socket(self) -> None:
        """A socket that is lost in the middle of a message leaves no clock behind."""
        port = MemoryDataPort()
        link, _ = port.connect()
        link.client_pipe.write(b"\x81")
        link.settle()
        self.assertEqual(len(port.socket_factory.unfinished), 1)
        link.vanish()
        self.assertEqual(port.socket_factory.unfinished, {})

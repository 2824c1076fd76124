"""Vendors' own SDKs in realtime sessions, and plain WebSocket clients, with only the address changed."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from pathlib import Path
from typing import Any

from google import genai
from google.genai import types
from openai import OpenAI
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from aigw.providers.settings import ProviderSettings
from aigw.serving.wheel import Wheel
from aigw.testing.data_port import TOKEN, MemoryDataPort
from aigw.testing.realtime import RealtimePeer, ScriptedRealtime, echo, script
from aigw.upstream.settings import UpstreamSettings
from aigw.upstream.upstream import Upstream
from aigw.values.gateway import Gateway
from aigw.values.record import End
from tests.clients import FOLDER, missing_for_node, run_node
from tests.clients.sdk import LOOK_S, PROVIDER_KEY, TOKEN_HEADER
from tests.upstream.certificates import Authority

# https://platform.openai.com/docs/api-reference/realtime-server-events
OPENAI_USAGE = {
    "total_tokens": 30,
    "input_tokens": 20,
    "output_tokens": 10,
    "input_token_details": {"text_tokens": 20, "audio_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 4, "audio_tokens": 6},
}
OPENAI = {
    "conversation.item.create": [{"type": "conversation.item.added", "event_id": "e1", "item": {"type": "message"}}],
    "response.create": [
        {"type": "response.output_text.delta", "event_id": "e2", "delta": "Hel"},
        {"type": "response.output_text.done", "event_id": "e3", "text": "Hello"},
        {"type": "response.done", "event_id": "e4", "response": {"id": "r1", "usage": OPENAI_USAGE}},
    ],
}
SOUND = b"\x01\x02" * 2400


def gemini(peer: RealtimePeer, payload: bytes, binary: bool) -> None:
    """Gemini's side, in binary frames as Google sends it (https://ai.google.dev/api/live)."""
    asked = json.loads(payload)
    if "setup" in asked:
        answers: list[Any] = [{"setupComplete": {}}]
    else:
        blob = {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(SOUND).decode()}
        answers = [
            {"serverContent": {"modelTurn": {"parts": [{"inlineData": blob}]}}},
            {"serverContent": {"outputTranscription": {"text": "Hello"}}},
            {
                "serverContent": {"turnComplete": True},
                "usageMetadata": {
                    "promptTokenCount": 7,
                    "responseTokenCount": 9,
                    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 9}],
                },
            },
        ]
    for answer in answers:
        peer.say(json.dumps(answer).encode())


class RealtimeClientCase(TestCase):
    """A provider that plays a vendor's sockets, and a gateway before it."""

    timeout = 60

    async def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.provider = ScriptedRealtime(reactor)
        await self.provider.start()
        self.upstream = Upstream(reactor, Wheel(self.reactor), UpstreamSettings(), lambda: 1_700_000_000.0)
        own = ProviderSettings(base_url=self.provider.url)
        self.port = MemoryDataPort(
            gateways=(Gateway(id="default"),),
            providers=dict.fromkeys(("openai", "google-ai-studio", "elevenlabs", "custom-echo"), own),
            clock=reactor,
            upstream=self.upstream,
        )
        self.listening: Any = self.reactor.listenTCP(0, self.port.server, interface="127.0.0.1")
        self.base = f"127.0.0.1:{self.listening.getHost().port}/v1/local/default"

    async def tearDown(self) -> None:
        await self.listening.stopListening()
        while self.port.port.sessions:
            await deferLater(self.reactor, LOOK_S)
        await self.upstream.close()
        await self.provider.close()
        for channel in list(self.port.server.channels):
            channel.abort()
        while self.port.server.channels:
            await deferLater(self.reactor, LOOK_S)

    async def record(self) -> End:
        """The record of the only session."""
        while not self.port.sink.ended or self.port.dispatcher.in_flight:
            await deferLater(self.reactor, LOOK_S)
        (record,) = self.port.sink.ended
        return record

    def assert_no_token_left(self) -> None:
        """Nothing that the vendor got holds the gateway's token or one of its settings."""
        for peer in self.provider.asked:
            self.assertNotIn("aigw_", f"{peer.path} {peer.headers} {peer.offered}")
            self.assertNotIn("cf-aig-", f"{peer.path} {peer.headers} {peer.offered}")


class OpenAITests(RealtimeClientCase):
    """`client.realtime` of the package `openai`."""

    def talk(self, key: str, headers: dict[str, str]) -> list[str]:
        """Ask once, in the words of OpenAI's own example; blocks."""
        client = OpenAI(api_key=key, base_url=f"http://{self.base}/openai", default_headers=headers)
        with client, client.realtime.connect(model="gpt-realtime", extra_headers=headers) as connection:
            connection.conversation.item.create(
                item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say hello"}]}
            )
            connection.response.create()
            kinds = []
            for event in connection:
                kinds.append(event.type)
                if event.type == "response.done":
                    break
        return kinds

    async def talked(self, key: str, headers: dict[str, str]) -> RealtimePeer:
        self.provider.on_message = script(OPENAI)
        kinds = await deferToThread(self.talk, key, headers)
        self.assertEqual(kinds[-2:], ["response.output_text.done", "response.done"])
        peer = self.provider.sessions[0]
        self.assertEqual(peer.path, "/realtime?model=gpt-realtime")
        self.assert_no_token_left()
        return peer

    async def test_session(self) -> None:
        """The SDK talks as with OpenAI, its key reaches OpenAI, and the log has tokens and both sides' words."""
        peer = await self.talked(PROVIDER_KEY, TOKEN_HEADER)
        self.assertEqual(peer.headers["authorization"], f"Bearer {PROVIDER_KEY}")
        record = await self.record()
        self.assertEqual((record.success, record.error_code, record.session.turns), (True, 0, 1))
        self.assertEqual((record.usage.tokens_in, record.usage.tokens_out, record.usage.audio_out), (20, 10, 6))
        self.assertIn(b'"transcript":"Say hello"', record.request_body)
        self.assertIn(b'"transcript":"Hello"', record.response_body)

    async def test_token_for_key(self) -> None:
        """An SDK that has the gateway's token for its key gets in, and the token stays here."""
        peer = await self.talked(TOKEN, {})
        self.assertNotIn("authorization", peer.headers)


class GoogleTests(RealtimeClientCase):
    """`client.aio.live` of the package `google-genai`, which speaks nothing but TLS."""

    async def setUp(self) -> None:
        await super().setUp()
        authority = Authority("the test's own")
        self.trust = ssl.create_default_context(cadata=authority.pem.decode())
        await self.listening.stopListening()
        self.listening = self.reactor.listenSSL(
            0, self.port.server, authority.server("localhost"), interface="127.0.0.1"
        )
        self.base = f"localhost:{self.listening.getHost().port}/v1/local/default"

    async def test_session(self) -> None:
        """The SDK talks as with Google; sound comes whole, and the log has turns, tokens and seconds."""
        self.provider.on_message = gemini
        sound = await deferToThread(asyncio.run, self.talk())
        self.assertEqual(sound, SOUND)
        peer = self.provider.sessions[0]
        self.assertRegex(
            peer.path, r"^/ws/google\.ai\.generativelanguage\.v1\w*\.GenerativeService\.BidiGenerateContent$"
        )
        self.assertEqual(peer.headers["x-goog-api-key"], PROVIDER_KEY)
        self.assert_no_token_left()
        record = await self.record()
        self.assertEqual((record.target.provider, record.response_model), ("google-ai-studio", "gemini-live-2.5-flash"))
        self.assertEqual((record.session.turns, record.session.audio_out_ms), (1, 100))
        self.assertEqual((record.usage.tokens_in, record.usage.tokens_out, record.usage.audio_out), (7, 9, 9))
        self.assertIn(b'"transcript":"Hello"', record.response_body)

    async def talk(self) -> bytes:
        """Say something in text, and gather the sound that comes back; on asyncio."""
        options = types.HttpOptions(
            base_url=f"https://{self.base}/google", headers=TOKEN_HEADER, async_client_args={"ssl": self.trust}
        )
        client = genai.Client(api_key=PROVIDER_KEY, http_options=options)
        sound = b""
        async with client.aio.live.connect(
            model="gemini-live-2.5-flash", config={"response_modalities": ["AUDIO"]}
        ) as session:
            await session.send_client_content(turns={"role": "user", "parts": [{"text": "Say hello"}]})
            async for message in session.receive():
                sound += message.data or b""
        return sound


class WebsocketsTests(RealtimeClientCase):
    """The Python package `websockets`."""

    async def test_text_binary_and_close(self) -> None:
        """Text and bytes come back as they were, and the provider's close code is the session's."""
        self.provider.on_message = echo
        got, code = await deferToThread(self.talk)
        self.assertEqual(got, ["hello", b"\x00\x01" * 50_000])
        self.assertEqual(code, 4321)

    def talk(self) -> tuple[list[Any], int]:
        got: list[Any] = []
        with connect(f"ws://{self.base}/custom-echo/any", additional_headers=TOKEN_HEADER) as socket:
            for message in ("hello", b"\x00\x01" * 50_000):
                socket.send(message)
                got.append(socket.recv(timeout=30))
            self.reactor.callFromThread(lambda: self.provider.sessions[0].close(4321, "enough"))
            try:
                socket.recv(timeout=30)
            except ConnectionClosed as closed:
                return got, closed.rcvd.code if closed.rcvd is not None else 0
        return got, 0

    async def test_refusal(self) -> None:
        """A provider's refusal is the answer to the handshake."""
        self.provider.refusal = (403, b'{"error":"not yours"}', "application/json")
        refused = await self.assertFailure(deferToThread(self.talk), InvalidStatus)
        self.assertEqual((refused.response.status_code, refused.response.body), (403, b'{"error":"not yours"}'))


class NodeTests(RealtimeClientCase):
    """Node's `ws`, with what a page in a browser can send: subprotocols."""

    skip = missing_for_node()

    def node(self, **plan: Any) -> Deferred[list[dict[str, Any]]]:
        """What the client of `realtime_ws.mjs` prints."""
        return Deferred.fromCoroutine(run_node(Path(FOLDER / "realtime_ws.mjs"), json.dumps(plan)))

    async def test_page(self) -> None:
        """Token and key come as subprotocols; the handshake selects the one that is no secret."""
        self.provider.on_message = echo
        self.provider.subprotocol = "realtime"
        key = f"openai-insecure-api-key.{PROVIDER_KEY}"
        printed = await self.node(
            url=f"ws://{self.base}/openai?model=gpt-realtime",
            protocols=["realtime", key, "openai-beta.realtime-v1", f"cf-aig-authorization.{TOKEN}"],
            messages=[{"type": "x"}, "AAEC"],
        )
        self.assertEqual(printed[0], {"open": {"protocol": "realtime"}})
        self.assertEqual(printed[1:3], [{"text": '{"type":"x"}'}, {"binary": "AAEC"}])
        self.assertEqual(printed[-1], {"close": {"code": 1000, "reason": ""}})
        self.assertEqual(self.provider.sessions[0].offered, ["realtime", key, "openai-beta.realtime-v1"])
        self.assert_no_token_left()

    async def test_key_in_a_subprotocol(self) -> None:
        """ElevenLabs' key reaches it in its header."""
        self.provider.on_message = echo
        printed = await self.node(
            url=f"ws://{self.base}/elevenlabs?agent_id=a",
            protocols=[f"xi-api-key.{PROVIDER_KEY}", f"cf-aig-authorization.{TOKEN}"],
            messages=["AAEC"],
        )
        self.assertEqual(printed[1], {"binary": "AAEC"})
        peer = self.provider.sessions[0]
        self.assertEqual((peer.headers["xi-api-key"], peer.offered), (PROVIDER_KEY, []))
        self.assert_no_token_left()

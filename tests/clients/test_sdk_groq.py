"""
Groq's Python SDK. Shapes: https://console.groq.com/docs/api-reference (chat, audio, models, errors); those of chat are
OpenAI's with `x_groq`.
"""

from __future__ import annotations

import json
from typing import Any

import groq
from groq import Groq

from aigw.testing.data_port import TOKEN
from aigw.testing.provider import WAIT, answer, event_stream, json_answer
from tests.clients.sdk import PROVIDER_KEY, TOKEN_HEADER, SdkTestCase

QUESTION: Any = [{"role": "user", "content": "Will it rain?"}]
MODEL = "llama-3.3-70b-versatile"
USAGE = {"queue_time": 0.03, "prompt_tokens": 18, "completion_tokens": 6, "total_tokens": 24, "total_time": 0.4}
CHAT = {
    "id": "chatcmpl-f51b2cd2",
    "object": "chat.completion",
    "created": 1_730_241_104,
    "model": MODEL,
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "It will."}, "logprobs": None, "finish_reason": "stop"}
    ],
    "usage": USAGE,
    "system_fingerprint": "fp_179b0f92c9",
    "x_groq": {"id": "req_01"},
}


def chunk(delta: dict[str, Any], finish: str | None = None, **members: Any) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_730_241_104, "model": MODEL}
    return b"data: " + json.dumps({**value, "choices": [choice], **members}).encode() + b"\n\n"


class GroqSdkTests(SdkTestCase):
    """`groq.Groq` with another `base_url`."""

    slug = "groq"
    base_path = "/openai/v1"

    async def setUp(self) -> None:
        await super().setUp()
        self.client = Groq(base_url=self.url, api_key=TOKEN, max_retries=0)
        self.addCleanup(self.client.close)

    def ask(self, **arguments: Any) -> Any:
        """One question; blocks."""
        return self.client.chat.completions.create(model=MODEL, messages=QUESTION, **arguments)

    async def test_chat(self) -> None:
        """A chat is answered, with the gateway's token in the place of the key; the SDK's own path reaches Groq's."""
        self.provider.on("/openai/v1/chat/completions", json_answer(CHAT))
        found = await self.blocking(self.ask)
        self.assertEqual(found.choices[0].message.content, "It will.")
        self.assert_no_token_left()
        (record,) = self.port.sink.ended
        assert record.usage is not None
        self.assertEqual((record.usage.tokens_in, record.usage.tokens_out), (18, 6))

    async def test_own_key(self) -> None:
        """With the token in its own header, the caller's key reaches Groq."""
        self.provider.on("/openai/v1/chat/completions", json_answer(CHAT))
        client = Groq(base_url=self.url, api_key=PROVIDER_KEY, default_headers=TOKEN_HEADER, max_retries=0)
        self.addCleanup(client.close)
        await self.blocking(client.chat.completions.create, model=MODEL, messages=QUESTION)
        self.assertEqual(self.sent()["authorization"], f"Bearer {PROVIDER_KEY}")

    async def test_stream(self) -> None:
        """A stream comes piece by piece: the first is read while the vendor still waits to send the second."""
        events = (
            chunk({"role": "assistant", "content": "It "}, x_groq={"id": "req_01"}),
            *(WAIT, chunk({"content": "will."})),
            chunk({}, "stop", x_groq={"id": "req_01", "usage": USAGE}),
            b"data: [DONE]\n\n",
        )
        self.provider.on("/openai/v1/chat/completions", event_stream(*events))

        def read() -> list[str]:
            texts = []
            for part in self.ask(stream=True):
                texts += [choice.delta.content for choice in part.choices if choice.delta.content]
                if texts == ["It "]:
                    self.go()
            return texts

        self.assertEqual(await self.blocking(read), ["It ", "will."])
        self.assertTrue(self.port.sink.ended[0].success)

    async def test_sound(self) -> None:
        """Sound goes up and comes down."""
        sound = b"RIFF" + bytes(range(256)) * 300
        self.provider.on("/openai/v1/audio/transcriptions", json_answer({"text": "Rain.", "x_groq": {"id": "req_01"}}))
        create = self.client.audio.transcriptions.create
        found = await self.blocking(create, model="whisper-large-v3", file=("rain.wav", sound))
        self.assertEqual(found.text, "Rain.")
        self.assertIn(sound, self.provider.requests[0].body)
        self.provider.on("/openai/v1/audio/speech", answer(sound, content_type="audio/wav"))
        speak = self.client.audio.speech.create
        heard = await self.blocking(speak, model="playai-tts", voice="Fritz-PlayAI", input="Rain.")
        self.assertEqual(heard.read(), sound)

    async def test_errors(self) -> None:
        """The vendor's errors, and the gateway's own, become the exceptions that the SDK has for them."""
        for status, kind in (
            (400, groq.BadRequestError),
            (404, groq.NotFoundError),
            (413, groq.APIStatusError),
            (429, groq.RateLimitError),
            (503, groq.InternalServerError),
        ):
            error = {"error": {"message": "made up", "type": "tokens", "code": "rate_limit_exceeded"}}
            self.provider.on("/openai/v1/chat/completions", json_answer(error, status=status))
            found = await self.assertFailure(self.blocking(self.ask), kind)
            self.assertEqual((found.status_code, found.body), (status, error))
        client = Groq(base_url=self.url, api_key="aigw_wrong", max_retries=0)
        self.addCleanup(client.close)
        asked = self.blocking(client.chat.completions.create, model=MODEL, messages=QUESTION)
        refused = await self.assertFailure(asked, groq.AuthenticationError)
        self.assertEqual(refused.body["internalCode"], 2009)

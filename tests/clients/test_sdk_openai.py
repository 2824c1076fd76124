"""
OpenAI's Python SDK. Shapes: https://platform.openai.com/docs/api-reference (chat, responses, embeddings, files, audio,
models and errors).
"""

from __future__ import annotations

import json
from typing import Any

import openai
from openai import OpenAI

from aigw.testing.data_port import TOKEN
from aigw.testing.provider import CLOSE, WAIT, Script, answer, event_stream, json_answer
from tests.clients.sdk import PROVIDER_KEY, TOKEN_HEADER, SdkTestCase

QUESTION: Any = [{"role": "user", "content": "Will it rain?"}]
USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "It will.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_700_000_000,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "model": "gpt-4.1-2025-04-14",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "It will.", "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 36,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 87,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 123,
    },
}
FILE = {
    "id": "file-abc123",
    "object": "file",
    "bytes": 120_000,
    "created_at": 1_677_610_602,
    "filename": "mydata.jsonl",
    "purpose": "fine-tune",
    "status": "processed",
}


def chunk(delta: dict[str, Any], finish: str | None = None, **members: Any) -> bytes:
    """One event of a chat stream."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-4o-mini"}
    return b"data: " + json.dumps({**value, "choices": [choice], **members}).encode() + b"\n\n"


def event(kind: str, number: int, **members: Any) -> bytes:
    """One event of a stream of the Responses API."""
    data = json.dumps({"type": kind, "sequence_number": number, **members})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def failure(status: int, kind: str, code: str | None, **headers: str) -> Script:
    """An error as OpenAI words it."""
    error = {"message": f"made up: {code}", "type": kind, "param": None, "code": code}
    return json_answer({"error": error}, status=status, headers=headers)


class OpenAISdkTests(SdkTestCase):
    """`openai.OpenAI` with another `base_url`."""

    slug = "openai"
    base_path = "/v1"

    async def setUp(self) -> None:
        await super().setUp()
        self.client = OpenAI(base_url=self.url, api_key=TOKEN, max_retries=0)
        self.addCleanup(self.client.close)

    def ask(self, **arguments: Any) -> Any:
        """One question; blocks."""
        return self.client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, **arguments)

    async def test_chat(self) -> None:
        """A chat is answered, with the gateway's token in the place of the key; the log has tokens and cost."""
        self.provider.on("/v1/chat/completions", json_answer(CHAT, headers={"x-request-id": "req_abc"}))
        completion = await self.blocking(self.ask)
        self.assertEqual(completion.choices[0].message.content, "It will.")
        self.assertEqual(completion._request_id, "req_abc")
        self.assert_no_token_left()
        self.assertNotIn("authorization", self.sent())
        (record,) = self.port.sink.ended
        assert record.usage is not None
        self.assertEqual((record.usage.tokens_in, record.usage.tokens_out, record.success), (11, 3, True))
        self.assertEqual(record.target.model, "gpt-4o-mini")

    async def test_own_key(self) -> None:
        """With the token in its own header, the caller's key reaches OpenAI; the answer names its row in the log."""
        self.provider.on("/v1/chat/completions", json_answer(CHAT))
        client = OpenAI(base_url=f"{self.url}/v1", api_key=PROVIDER_KEY, default_headers=TOKEN_HEADER, max_retries=0)
        self.addCleanup(client.close)
        create = client.chat.completions.with_raw_response.create
        raw = await self.blocking(create, model="gpt-4o-mini", messages=QUESTION)
        self.assertEqual(raw.parse().choices[0].message.content, "It will.")
        self.assertRegex(raw.headers["cf-aig-log-id"], "^[0-9a-f-]{36}$")
        self.assertEqual(self.sent()["authorization"], f"Bearer {PROVIDER_KEY}")
        self.assert_no_token_left()

    async def test_stream(self) -> None:
        """A stream comes piece by piece: the first is read while the vendor still waits to send the second."""
        pieces = (
            *(chunk({"role": "assistant", "content": ""}), chunk({"content": "It "}), WAIT),
            *(chunk({"content": "will."}), chunk({}, "stop")),
            chunk({}, None, choices=[], usage=USAGE),
            b"data: [DONE]\n\n",
        )
        self.provider.on("/v1/chat/completions", event_stream(*pieces))

        def read() -> list[str]:
            texts = []
            for part in self.ask(stream=True, stream_options={"include_usage": True}):
                texts += [choice.delta.content for choice in part.choices if choice.delta.content]
                if texts == ["It "]:
                    self.go()
            return texts

        self.assertEqual(await self.blocking(read), ["It ", "will."])
        (record,) = self.port.sink.ended
        assert record.usage is not None
        self.assertEqual((record.usage.tokens_out, record.success, record.complete), (3, True, True))

    async def test_leaving_a_stream(self) -> None:
        """An SDK that closes a stream in its middle stops the vendor."""
        self.provider.on("/v1/chat/completions", event_stream(chunk({"content": "It "}), WAIT))

        def leave() -> None:
            stream = self.ask(stream=True)
            next(iter(stream))
            stream.close()

        await self.blocking(leave)
        await self.provider.when_stopped(1)
        self.assertEqual(self.provider.stopped, ["req-1"])

    async def test_responses(self) -> None:
        """The Responses API answers whole."""
        self.provider.on("/v1/responses", json_answer(RESPONSE))
        create = self.client.responses.create
        response = await self.blocking(create, model="gpt-4.1", input="Will it rain?")
        self.assertEqual(response.output_text, "It will.")
        (record,) = self.port.sink.ended
        assert record.usage is not None
        self.assertEqual((record.usage.tokens_in, record.usage.tokens_out), (36, 87))

    async def test_responses_stream(self) -> None:
        """The Responses API streams its named events to their end."""
        part = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        started = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
        events = (
            event("response.created", 0, response=started),
            event("response.output_text.delta", 1, **part, delta="It ", logprobs=[]),
            event("response.output_text.delta", 2, **part, delta="will.", logprobs=[]),
            event("response.completed", 3, response=RESPONSE),
        )
        self.provider.on("/v1/responses", event_stream(*events))

        def read() -> list[Any]:
            return list(self.client.responses.create(model="gpt-4.1", input="Will it rain?", stream=True))

        found = await self.blocking(read)
        self.assertEqual("".join(e.delta for e in found if e.type == "response.output_text.delta"), "It will.")
        self.assertEqual(found[-1].type, "response.completed")
        self.assertTrue(self.port.sink.ended[0].success)

    async def test_embeddings(self) -> None:
        """Embeddings come back, in the base64 that the SDK asks for by itself."""
        vector = {"object": "embedding", "index": 0, "embedding": "AACAPwAAAEA="}
        usage = {"prompt_tokens": 8, "total_tokens": 8}
        value = {"object": "list", "data": [vector], "model": "text-embedding-3-small", "usage": usage}
        self.provider.on("/v1/embeddings", json_answer(value))
        create = self.client.embeddings.create
        found = await self.blocking(create, model="text-embedding-3-small", input="rain")
        self.assertEqual(found.data[0].embedding, [1.0, 2.0])
        self.assertEqual(self.provider.requests[0].json["encoding_format"], "base64")

    async def test_files(self) -> None:
        """A file goes up as multipart, byte for byte, and its content comes down as it is."""
        content = bytes(range(256)) * 2_000
        self.provider.on("/v1/files", json_answer(FILE))
        self.provider.on("/v1/files/file-abc123/content", answer(content, content_type="application/octet-stream"))
        made = await self.blocking(self.client.files.create, file=("mydata.jsonl", content), purpose="fine-tune")
        self.assertEqual(made.id, "file-abc123")
        self.assertIn(content, self.provider.requests[0].body)
        self.assertTrue(self.sent()["content-type"].startswith("multipart/form-data; boundary="))
        down = await self.blocking(self.client.files.content, "file-abc123")
        self.assertEqual(down.read(), content)

    async def test_large_file_with_a_wrong_token(self) -> None:
        """A big upload with a wrong token is an authentication error, not a broken connection."""
        client = OpenAI(base_url=self.url, api_key="aigw_wrong", max_retries=0)
        self.addCleanup(client.close)
        upload = self.blocking(client.files.create, file=("big", b"x" * 20_000_000), purpose="fine-tune")
        error = await self.assertFailure(upload, openai.AuthenticationError)
        self.assertEqual(error.body[0]["code"], 2009)
        self.assertEqual(self.provider.requests, [])

    async def test_transcription(self) -> None:
        """Sound goes up and its text comes back."""
        self.provider.on("/v1/audio/transcriptions", json_answer({"text": "It will rain."}))
        sound = b"RIFF" + bytes(100_000)
        create = self.client.audio.transcriptions.create
        found = await self.blocking(create, model="whisper-1", file=("rain.wav", sound))
        self.assertEqual(found.text, "It will rain.")
        self.assertIn(sound, self.provider.requests[0].body)

    async def test_speech(self) -> None:
        """Sound comes down as it is spoken: the first of it while the vendor still speaks."""
        first, second = b"\xff\xfb" + bytes(30_000), b"\xff\xfb" + bytes(50_000)
        script = event_stream(first, WAIT, second, headers={"content-type": "audio/mpeg"})
        self.provider.on("/v1/audio/speech", script)

        def listen() -> bytes:
            heard = b""
            create = self.client.audio.speech.with_streaming_response.create
            with create(model="tts-1", voice="alloy", input="It will rain.") as response:
                for piece in response.iter_bytes():
                    if not heard:
                        self.go()
                    heard += piece
            return heard

        self.assertEqual(await self.blocking(listen), first + second)

    async def test_models_and_deletion(self) -> None:
        """GET and DELETE work, without a body and with a query string."""
        models = [{"id": "gpt-4o", "object": "model", "created": 1_686_935_002, "owned_by": "openai"}]
        self.provider.on("/v1/models", json_answer({"object": "list", "data": models}))
        self.provider.on("/v1/files/file-1", json_answer({"id": "file-1", "object": "file", "deleted": True}))
        self.provider.on("/v1/files", json_answer({"object": "list", "data": [FILE], "has_more": False}))
        self.assertEqual([model.id for model in await self.blocking(self.client.models.list)], ["gpt-4o"])
        self.assertTrue((await self.blocking(self.client.files.delete, "file-1")).deleted)
        listed = await self.blocking(self.client.files.list, purpose="fine-tune", limit=1)
        self.assertEqual(listed.data[0].id, "file-abc123")
        self.assertEqual(self.provider.requests[-1].path, b"/v1/files?limit=1&purpose=fine-tune")

    async def test_errors_of_the_vendor(self) -> None:
        """Each of the vendor's errors becomes the exception that the SDK has for it, with the vendor's own words."""
        for status, code, kind in (
            (400, "context_length_exceeded", openai.BadRequestError),
            (401, "invalid_api_key", openai.AuthenticationError),
            (403, "unsupported_country", openai.PermissionDeniedError),
            (404, "model_not_found", openai.NotFoundError),
            (409, None, openai.ConflictError),
            (422, None, openai.UnprocessableEntityError),
            (429, "rate_limit_exceeded", openai.RateLimitError),
            (500, None, openai.InternalServerError),
            (503, None, openai.InternalServerError),
        ):
            self.provider.on("/v1/chat/completions", failure(status, "made_up", code))
            error = await self.assertFailure(self.blocking(self.ask), kind)
            self.assertEqual((error.status_code, error.code), (status, code))

    async def test_retries_of_the_sdk(self) -> None:
        """The SDK reads the vendor's `retry-after-ms` and asks again by itself; each question has a row."""
        self.provider.on("/v1/chat/completions", failure(429, "requests", "rate_limit", **{"retry-after-ms": "1"}))
        error = await self.assertFailure(
            self.blocking(
                self.client.with_options(max_retries=2).chat.completions.create, model="m", messages=QUESTION
            ),
            openai.RateLimitError,
        )
        self.assertEqual(error.response.headers["retry-after-ms"], "1")
        self.assertEqual((len(self.provider.requests), len(self.port.sink.ended)), (3, 3))

    async def test_errors_of_the_gateway(self) -> None:
        """The gateway's own errors become the SDK's exceptions, with code and message."""
        base = self.url.removesuffix("/default/openai")
        for url, key, kind, code in (
            (self.url, "aigw_wrong", openai.AuthenticationError, 2009),
            (self.url, PROVIDER_KEY, openai.AuthenticationError, 2009),
            (f"{base}/nobody/openai", TOKEN, openai.BadRequestError, 2001),
            (f"{base}/default/opnai", TOKEN, openai.BadRequestError, 2008),
            (f"{base}/default/openai//x", TOKEN, openai.NotFoundError, 4040),
        ):
            client = OpenAI(base_url=url, api_key=key, max_retries=0)
            self.addCleanup(client.close)
            create = client.chat.completions.create
            error = await self.assertFailure(self.blocking(create, model="m", messages=QUESTION), kind)
            self.assertEqual(error.body[0]["code"], code, url)
        self.assertEqual(self.provider.requests, [])

    async def test_stream_that_is_cut(self) -> None:
        """A stream that the vendor cuts is an error for the SDK, never a short answer that looks whole."""
        script = event_stream(chunk({"content": "It "}), CLOSE, end=False)
        self.provider.on("/v1/chat/completions", script)

        def read() -> list[Any]:
            return list(self.ask(stream=True))

        await self.assertFailure(self.blocking(read), openai.APIConnectionError)

    async def test_error_within_a_stream(self) -> None:
        """An error that comes as an event of the stream reaches the SDK in the vendor's own words."""
        error = {"error": {"message": "The server is overloaded", "type": "server_error", "code": "overloaded"}}
        events = (chunk({"content": "It "}), b"data: " + json.dumps(error).encode() + b"\n\n", b"data: [DONE]\n\n")
        self.provider.on("/v1/chat/completions", event_stream(*events))

        def read() -> list[Any]:
            return list(self.ask(stream=True))

        found = await self.assertFailure(self.blocking(read), openai.APIError)
        self.assertEqual((found.message, found.code), ("The server is overloaded", "overloaded"))
        self.assertFalse(self.port.sink.ended[0].success)

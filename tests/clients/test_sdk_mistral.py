"""
Mistral's Python SDK. Shapes: https://docs.mistral.ai/api/ (chat completion, streaming, embeddings, files, transcription
and errors).
"""

from __future__ import annotations

import json
from typing import Any

from mistralai.client import Mistral, errors

from aigw.testing.data_port import TOKEN
from aigw.testing.provider import WAIT, event_stream, json_answer
from tests.clients.sdk import SdkTestCase

QUESTION: Any = [{"role": "user", "content": "Will it rain?"}]
USAGE = {"prompt_tokens": 16, "completion_tokens": 4, "total_tokens": 20}
CHAT = {
    "id": "cmpl-1",
    "object": "chat.completion",
    "model": "mistral-small-latest",
    "created": 1_702_256_327,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "It will.", "tool_calls": None, "prefix": False},
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}


def chunk(content: str, finish: str | None = None, **members: Any) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": finish}
    value = {"id": "cmpl-1", "object": "chat.completion.chunk", "created": 1_702_256_327, "model": "mistral-small"}
    return b"data: " + json.dumps({**value, "choices": [choice], **members}).encode() + b"\n\n"


class MistralSdkTests(SdkTestCase):
    """`mistralai`'s `Mistral` with another `server_url`."""

    slug = "mistral"

    async def setUp(self) -> None:
        await super().setUp()
        self.client = Mistral(api_key=TOKEN, server_url=self.url)

    def ask(self) -> Any:
        """One question; blocks."""
        return self.client.chat.complete(model="mistral-small-latest", messages=QUESTION)

    async def test_chat(self) -> None:
        """A chat is answered, with the gateway's token in the place of the key."""
        self.provider.on("/v1/chat/completions", json_answer(CHAT))
        found = await self.blocking(self.ask)
        self.assertEqual(found.choices[0].message.content, "It will.")
        self.assert_no_token_left()
        (record,) = self.port.sink.ended
        assert record.usage is not None
        self.assertEqual((record.usage.tokens_in, record.usage.tokens_out), (16, 4))

    async def test_stream(self) -> None:
        """A stream comes piece by piece: the first is read while the vendor still waits to send the second."""
        events = (chunk("It "), WAIT, chunk("will.", "stop", usage=USAGE), b"data: [DONE]\n\n")
        self.provider.on("/v1/chat/completions", event_stream(*events))

        def read() -> list[Any]:
            texts: list[Any] = []
            with self.client.chat.stream(model="mistral-small-latest", messages=QUESTION) as stream:
                for piece in stream:
                    texts.append(piece.data.choices[0].delta.content)
                    if len(texts) == 1:
                        self.go()
            return texts

        self.assertEqual(await self.blocking(read), ["It ", "will."])
        self.assertTrue(self.port.sink.ended[0].success)

    async def test_embeddings(self) -> None:
        """Embeddings come back."""
        vector = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
        value = {"id": "e-1", "object": "list", "model": "mistral-embed", "data": [vector], "usage": USAGE}
        self.provider.on("/v1/embeddings", json_answer(value))
        found = await self.blocking(self.client.embeddings.create, model="mistral-embed", inputs=["rain"])
        self.assertEqual(found.data[0].embedding, [0.5, 0.25])

    async def test_file(self) -> None:
        """A file goes up as multipart."""
        made = {
            "id": "497f6eca-6276-4993-bfeb-53cbbbba6f09",
            "object": "file",
            "bytes": 13_000,
            "created_at": 1_716_963_433,
            "filename": "files_upload.jsonl",
            "purpose": "fine-tune",
            "sample_type": "pretrain",
            "source": "upload",
        }
        self.provider.on("/v1/files", json_answer(made))
        content = bytes(range(256)) * 500
        upload: Any = {"file_name": "files_upload.jsonl", "content": content}
        found = await self.blocking(self.client.files.upload, file=upload)
        self.assertEqual(found.filename, "files_upload.jsonl")
        self.assertIn(content, self.provider.requests[0].body)

    async def test_errors(self) -> None:
        """The vendor's errors become the SDK's exceptions."""
        invalid = {"detail": [{"loc": ["body", "messages"], "msg": "Field required", "type": "missing"}]}
        self.provider.on("/v1/chat/completions", json_answer(invalid, status=422))
        error = await self.assertFailure(self.blocking(self.ask), errors.HTTPValidationError)
        self.assertEqual(error.status_code, 422)
        for status in (400, 401, 429, 500):
            body = {"object": "error", "message": "made up", "type": "invalid", "param": None, "code": "1500"}
            self.provider.on("/v1/chat/completions", json_answer(body, status=status))
            error = await self.assertFailure(self.blocking(self.ask), errors.SDKError)
            self.assertEqual((error.status_code, json.loads(error.body)["code"]), (status, "1500"))

    async def test_wrong_token(self) -> None:
        """A wrong token is the SDK's error with status 401 and the gateway's code."""
        self.client = Mistral(api_key="aigw_wrong", server_url=self.url)
        error = await self.assertFailure(self.blocking(self.ask), errors.SDKError)
        self.assertEqual((error.status_code, json.loads(error.body)["internalCode"]), (401, 2009))

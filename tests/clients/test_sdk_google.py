"""
Google's Python SDK for Gemini. Shapes: https://ai.google.dev/api (generateContent, streaming, embeddings, files,
models) and https://cloud.google.com/apis/design/errors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from google import genai
from google.genai import errors, types

from aigw.testing.data_port import TOKEN
from aigw.testing.provider import WAIT, Script, answer, event_stream, json_answer
from tests.clients.sdk import PROVIDER_KEY, TOKEN_HEADER, SdkTestCase

MODEL = "gemini-2.5-flash"


def reply(text: str, finish: str | None = None, **members: Any) -> dict[str, Any]:
    """An answer, or a piece of one."""
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": MODEL, **members}


def event(value: object) -> bytes:
    """One event of a stream; Google ends its lines with CR LF."""
    return b"data: " + json.dumps(value).encode() + b"\r\n\r\n"


def failure(status: int, name: str) -> Script:
    """An error as Google words it."""
    return json_answer({"error": {"code": status, "message": f"made up: {name}", "status": name}}, status=status)


class GoogleSdkTests(SdkTestCase):
    """`google.genai.Client` with another `base_url`."""

    slug = "google-ai-studio"

    async def setUp(self) -> None:
        await super().setUp()
        self.client = self.made(TOKEN)

    def made(self, key: str, **options: Any) -> genai.Client:
        """A client, closed with the test."""
        client = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=self.url, **options))
        self.addCleanup(client.close)
        return client

    def script(self, call: str, script: Script, version: str = "v1beta") -> None:
        """Say how the model answers a call, whichever version of the API the SDK asks for."""
        for each in ("v1", "v1beta"):
            self.provider.on(f"/{each}/models/{MODEL}:{call}", script)

    async def test_generate(self) -> None:
        """A question is answered, with the gateway's token in the place of the key; the log has model and tokens."""
        self.script("generateContent", json_answer(reply("It will.", "STOP")))
        found = await self.blocking(self.client.models.generate_content, model=MODEL, contents="Will it rain?")
        self.assertEqual(found.text, "It will.")
        self.assert_no_token_left()
        (record,) = self.port.sink.ended
        assert record.usage is not None
        self.assertEqual((record.usage.tokens_in, record.usage.tokens_out, record.target.model), (5, 3, MODEL))

    async def test_own_key(self) -> None:
        """With the token in its own header, the caller's key reaches Google."""
        self.script("generateContent", json_answer(reply("It will.", "STOP")))
        client = self.made(PROVIDER_KEY, headers=TOKEN_HEADER)
        await self.blocking(client.models.generate_content, model=MODEL, contents="Will it rain?")
        self.assertEqual(self.sent()["x-goog-api-key"], PROVIDER_KEY)
        self.assert_no_token_left()

    async def test_stream(self) -> None:
        """A stream comes piece by piece: the first is read while the vendor still waits to send the second."""
        pieces = (event(reply("It ")), WAIT, event(reply("will.", "STOP")))
        self.script("streamGenerateContent", event_stream(*pieces))

        def read() -> list[str]:
            texts: list[str] = []
            stream = self.client.models.generate_content_stream(model=MODEL, contents="Will it rain?")
            for piece in stream:
                texts.append(piece.text or "")
                if len(texts) == 1:
                    self.go()
            return texts

        self.assertEqual(await self.blocking(read), ["It ", "will."])
        self.assertIn(b"alt=sse", self.provider.requests[0].path)
        self.assertTrue(self.port.sink.ended[0].success)

    async def test_embeddings(self) -> None:
        """Embeddings come back."""
        for call, value in (
            ("batchEmbedContents", {"embeddings": [{"values": [0.5, 0.25]}]}),
            ("embedContent", {"embedding": {"values": [0.5, 0.25]}}),
        ):
            for version in ("v1", "v1beta"):
                self.provider.on(f"/{version}/models/gemini-embedding-001:{call}", json_answer(value))
        embed = self.client.models.embed_content
        found = await self.blocking(embed, model="gemini-embedding-001", contents="rain")
        self.assertEqual((found.embeddings or [])[0].values, [0.5, 0.25])

    async def test_models(self) -> None:
        """Listing models works, with a query string."""
        value = {"models": [{"name": f"models/{MODEL}", "displayName": "Flash"}]}
        for version in ("v1", "v1beta"):
            self.provider.on(f"/{version}/models", json_answer(value))
        found = await self.blocking(lambda: [model.name for model in self.client.models.list()])
        self.assertEqual(found, [f"models/{MODEL}"])

    async def test_file(self) -> None:
        """A file goes up in Google's resumable way: begun through the gateway, sent to where Google says."""
        content = bytes(range(256)) * 1_000
        location = f"{self.provider.url}/upload/session?upload_id=abc&upload_protocol=resumable"
        started = answer(b"{}", headers={"x-goog-upload-url": location, "x-goog-upload-status": "active"})
        made = {"file": {"name": "files/abc", "mimeType": "text/plain", "sizeBytes": "256000", "state": "ACTIVE"}}
        for version in ("v1", "v1beta"):
            self.provider.on(f"/upload/{version}/files", started)
        self.provider.on("/upload/session", json_answer(made, headers={"x-goog-upload-status": "final"}))
        file = Path(self.mktemp())
        file.write_bytes(content)
        config = types.UploadFileConfig(mime_type="text/plain")
        found = await self.blocking(self.client.files.upload, file=str(file), config=config)
        self.assertEqual(found.name, "files/abc")
        self.assertEqual(len(self.port.sink.ended), 1)
        self.assertEqual(self.provider.requests[-1].body, content)

    async def test_errors(self) -> None:
        """The vendor's errors become the SDK's exceptions, with the vendor's own words."""
        for status, name, kind in (
            (400, "INVALID_ARGUMENT", errors.ClientError),
            (403, "PERMISSION_DENIED", errors.ClientError),
            (404, "NOT_FOUND", errors.ClientError),
            (429, "RESOURCE_EXHAUSTED", errors.ClientError),
            (500, "INTERNAL", errors.ServerError),
            (503, "UNAVAILABLE", errors.ServerError),
        ):
            self.script("generateContent", failure(status, name))
            asked = self.blocking(self.client.models.generate_content, model=MODEL, contents="Will it rain?")
            error = await self.assertFailure(asked, kind)
            self.assertEqual((error.code, error.status), (status, name))

    async def test_wrong_token(self) -> None:
        """A wrong token is a client error with status 401."""
        asked = self.blocking(self.made("aigw_wrong").models.generate_content, model=MODEL, contents="Will it rain?")
        error = await self.assertFailure(asked, errors.ClientError)
        self.assertEqual(error.code, 401)
        self.assertEqual(self.provider.requests, [])

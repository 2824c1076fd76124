"""
Anthropic's Python SDK. Shapes: https://docs.anthropic.com/en/api (messages, streaming, counting tokens, models, files
and errors).
"""

from __future__ import annotations

import json
from typing import Any

import anthropic
from anthropic import Anthropic

from aigw.testing.data_port import TOKEN
from aigw.testing.provider import WAIT, Script, event_stream, json_answer
from tests.clients.sdk import PROVIDER_KEY, TOKEN_HEADER, SdkTestCase

QUESTION: Any = [{"role": "user", "content": "Will it rain?"}]
MESSAGE: dict[str, Any] = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "It will."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 12,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 4,
        "output_tokens": 5,
    },
}


def event(kind: str, **members: Any) -> bytes:
    """One event of a stream."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def text(piece: str) -> bytes:
    """A piece of the answer."""
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})


BEGINNING = (
    event("message_start", message={**MESSAGE, "content": [], "stop_reason": None}),
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    event("ping"),
)
ENDING = (
    event("content_block_stop", index=0),
    event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 7}),
    event("message_stop"),
)


def failure(status: int, kind: str) -> Script:
    """An error as Anthropic words it."""
    error = {"type": "error", "error": {"type": kind, "message": f"made up: {kind}"}, "request_id": "req_1"}
    return json_answer(error, status=status)


class AnthropicSdkTests(SdkTestCase):
    """`anthropic.Anthropic` with another `base_url`."""

    slug = "anthropic"

    async def setUp(self) -> None:
        await super().setUp()
        self.client = Anthropic(base_url=self.url, api_key=TOKEN, max_retries=0)
        self.addCleanup(self.client.close)

    def ask(self, **arguments: Any) -> Any:
        """One question; blocks."""
        return self.client.messages.create(model="claude-sonnet-4-5", max_tokens=64, messages=QUESTION, **arguments)

    async def test_message(self) -> None:
        """A message is answered, with the gateway's token in the place of the key; the log counts cached tokens."""
        self.provider.on("/v1/messages", json_answer(MESSAGE, headers={"request-id": "req_abc"}))
        message = await self.blocking(self.ask)
        self.assertEqual(message.content[0].text, "It will.")
        self.assertEqual(message._request_id, "req_abc")
        self.assert_no_token_left()
        self.assertTrue(self.sent()["anthropic-version"])
        (record,) = self.port.sink.ended
        assert record.usage is not None
        self.assertEqual((record.usage.tokens_in, record.usage.tokens_out), (16, 5))

    async def test_own_key(self) -> None:
        """With the token in its own header, the caller's key reaches Anthropic in whichever header the SDK puts it."""
        self.provider.on("/v1/messages", json_answer(MESSAGE))
        client = Anthropic(base_url=self.url, api_key=PROVIDER_KEY, default_headers=TOKEN_HEADER, max_retries=0)
        self.addCleanup(client.close)
        await self.blocking(client.messages.create, model="claude-sonnet-4-5", max_tokens=9, messages=QUESTION)
        sent = self.sent()
        self.assertIn(PROVIDER_KEY, sent.get("authorization", "") + sent.get("x-api-key", ""))
        self.assert_no_token_left()

    async def test_old_clients(self) -> None:
        """An older client's `x-api-key` is taken for the token as well."""
        self.provider.on("/v1/messages", json_answer(MESSAGE))
        headers = {"x-api-key": TOKEN, "anthropic-version": "2023-06-01"}
        client = Anthropic(base_url=self.url, api_key=PROVIDER_KEY, default_headers=headers, max_retries=0)
        self.addCleanup(client.close)
        await self.blocking(client.messages.create, model="claude-sonnet-4-5", max_tokens=9, messages=QUESTION)
        self.assertEqual(self.sent()["anthropic-version"], "2023-06-01")
        self.assert_no_token_left()

    async def test_stream(self) -> None:
        """A stream comes piece by piece: the first is read while the vendor still waits to send the second."""
        self.provider.on("/v1/messages", event_stream(*BEGINNING, text("It "), WAIT, text("will."), *ENDING))

        def read() -> tuple[list[str], Any]:
            texts: list[str] = []
            with self.client.messages.stream(model="claude-sonnet-4-5", max_tokens=64, messages=QUESTION) as stream:
                for piece in stream.text_stream:
                    texts.append(piece)
                    if len(texts) == 1:
                        self.go()
                return texts, stream.get_final_message()

        texts, message = await self.blocking(read)
        self.assertEqual((texts, message.stop_reason), (["It ", "will."], "end_turn"))
        (record,) = self.port.sink.ended
        assert record.usage is not None
        self.assertEqual((record.usage.tokens_in, record.usage.tokens_out, record.success), (16, 7, True))

    async def test_tokens_and_models(self) -> None:
        """Counting tokens and listing models work."""
        self.provider.on("/v1/messages/count_tokens", json_answer({"input_tokens": 12}))
        model = {"type": "model", "id": "claude-x", "display_name": "X", "created_at": "2025-01-01T00:00:00Z"}
        self.provider.on("/v1/models", json_answer({"data": [model], "has_more": False, "first_id": "", "last_id": ""}))
        count = await self.blocking(self.client.messages.count_tokens, model="claude-sonnet-4-5", messages=QUESTION)
        self.assertEqual(count.input_tokens, 12)
        self.assertEqual([found.id for found in await self.blocking(self.client.models.list)], ["claude-x"])

    async def test_file(self) -> None:
        """A file goes up as multipart."""
        made = {
            "id": "file_1",
            "type": "file",
            "filename": "a.txt",
            "mime_type": "text/plain",
            "size_bytes": 4,
            "created_at": "2025-01-01T00:00:00Z",
            "downloadable": False,
        }
        self.provider.on("/v1/files", json_answer(made))
        content = bytes(range(256)) * 1_000
        found = await self.blocking(self.client.beta.files.upload, file=("a.txt", content, "text/plain"))
        self.assertEqual(found.id, "file_1")
        self.assertIn(content, self.provider.requests[0].body)

    async def test_errors_of_the_vendor(self) -> None:
        """Each of the vendor's errors becomes the exception that the SDK has for it."""
        for status, kind, expected in (
            (400, "invalid_request_error", anthropic.BadRequestError),
            (401, "authentication_error", anthropic.AuthenticationError),
            (403, "permission_error", anthropic.PermissionDeniedError),
            (404, "not_found_error", anthropic.NotFoundError),
            (413, "request_too_large", anthropic.APIStatusError),
            (429, "rate_limit_error", anthropic.RateLimitError),
            (500, "api_error", anthropic.InternalServerError),
            (529, "overloaded_error", anthropic.APIStatusError),
        ):
            self.provider.on("/v1/messages", failure(status, kind))
            error = await self.assertFailure(self.blocking(self.ask), expected)
            self.assertEqual((error.status_code, error.body["error"]["type"]), (status, kind))

    async def test_errors_of_the_gateway(self) -> None:
        """A wrong token is an authentication error that says which code the gateway gave it."""
        client = Anthropic(base_url=self.url, api_key="aigw_wrong", max_retries=0)
        self.addCleanup(client.close)
        create = client.messages.create
        asked = self.blocking(create, model="claude-sonnet-4-5", max_tokens=9, messages=QUESTION)
        error = await self.assertFailure(asked, anthropic.AuthenticationError)
        self.assertEqual(error.body["error"][0]["code"], 2009)
        self.assertEqual(self.provider.requests, [])

    async def test_error_within_a_stream(self) -> None:
        """An error that comes as an event of the stream reaches the SDK in the vendor's own words."""
        error = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
        self.provider.on("/v1/messages", event_stream(*BEGINNING, text("It "), error))

        def read() -> list[Any]:
            return list(self.ask(stream=True))

        found = await self.assertFailure(self.blocking(read), anthropic.APIStatusError)
        self.assertEqual(found.body["error"]["message"], "Overloaded")
        self.assertFalse(self.port.sink.ended[0].success)

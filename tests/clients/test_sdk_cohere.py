"""
Cohere's Python SDK. Shapes: https://docs.cohere.com/reference (chat and its streaming, embed, rerank, errors).
"""

from __future__ import annotations

import json
from typing import Any

import cohere

from aigw.testing.data_port import TOKEN
from aigw.testing.provider import WAIT, event_stream, json_answer
from tests.clients.sdk import SdkTestCase

QUESTION: Any = [{"role": "user", "content": "Will it rain?"}]
USAGE = {"billed_units": {"input_tokens": 5, "output_tokens": 4}, "tokens": {"input_tokens": 71, "output_tokens": 4}}
CHAT = {
    "id": "c14c80c3-18eb-4519-9460-6c92edd8cfb4",
    "finish_reason": "COMPLETE",
    "message": {"role": "assistant", "content": [{"type": "text", "text": "It will."}]},
    "usage": USAGE,
}


def event(kind: str, **members: Any) -> bytes:
    """One event of a stream."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def text(piece: str) -> bytes:
    """A piece of the answer."""
    return event("content-delta", index=0, delta={"message": {"content": {"text": piece}}})


class CohereSdkTests(SdkTestCase):
    """`cohere.ClientV2` with another `base_url`."""

    slug = "cohere"

    async def setUp(self) -> None:
        await super().setUp()
        self.client = self.made(TOKEN)

    def made(self, key: str) -> cohere.ClientV2:
        """A client."""
        return cohere.ClientV2(api_key=key, base_url=self.url, max_retries=0)

    async def test_chat(self) -> None:
        """A chat is answered, with the gateway's token in the place of the key."""
        self.provider.on("/v2/chat", json_answer(CHAT))
        found = await self.blocking(self.client.chat, model="command-a-03-2025", messages=QUESTION)
        assert found.message.content is not None
        self.assertEqual(found.message.content[0].text, "It will.")  # type: ignore[union-attr]  # of several kinds
        self.assert_no_token_left()
        (record,) = self.port.sink.ended
        assert record.usage is not None
        self.assertEqual((record.target.model, record.usage.tokens_out), ("command-a-03-2025", 4))

    async def test_stream(self) -> None:
        """A stream comes piece by piece: the first is read while the vendor still waits to send the second."""
        message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        events = (
            event("message-start", id="29f14a5a", delta={"message": message}),
            event("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}}),
            *(text("It "), WAIT, text("will.")),
            event("content-end", index=0),
            event("message-end", delta={"finish_reason": "COMPLETE", "usage": USAGE}),
        )
        self.provider.on("/v2/chat", event_stream(*events))

        def read() -> list[Any]:
            texts: list[Any] = []
            for piece in self.client.chat_stream(model="command-a-03-2025", messages=QUESTION):
                if piece.type == "content-delta":
                    texts.append(piece.delta.message.content.text)  # type: ignore[union-attr]  # all are optional
                    if len(texts) == 1:
                        self.go()
            return texts

        self.assertEqual(await self.blocking(read), ["It ", "will."])
        self.assertTrue(self.port.sink.ended[0].success)

    async def test_embed_and_rerank(self) -> None:
        """Embeddings and rankings come back."""
        meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 2}}
        vectors = {"id": "e", "embeddings": {"float": [[0.5, 0.25]]}, "texts": ["rain"], "meta": meta}
        self.provider.on("/v2/embed", json_answer({**vectors, "response_type": "embeddings_by_type"}))
        embed = self.client.embed
        kind = {"model": "embed-v4.0", "input_type": "search_document", "embedding_types": ["float"]}
        found = await self.blocking(embed, texts=["rain"], **kind)
        self.assertEqual(found.embeddings.float_, [[0.5, 0.25]])
        ranks = {"id": "r", "results": [{"index": 1, "relevance_score": 0.9}], "meta": meta}
        self.provider.on("/v2/rerank", json_answer(ranks))
        ranked = await self.blocking(self.client.rerank, model="rerank-v3.5", query="rain", documents=["sun", "rain"])
        self.assertEqual(ranked.results[0].index, 1)

    async def test_errors(self) -> None:
        """Each of the vendor's errors becomes the exception that the SDK has for it."""
        for status, kind in (
            (400, cohere.BadRequestError),
            (401, cohere.UnauthorizedError),
            (404, cohere.NotFoundError),
            (422, cohere.UnprocessableEntityError),
            (429, cohere.TooManyRequestsError),
            (500, cohere.InternalServerError),
            (503, cohere.ServiceUnavailableError),
        ):
            self.provider.on("/v2/chat", json_answer({"message": "made up", "id": "x"}, status=status))
            asked = self.blocking(self.client.chat, model="command-a-03-2025", messages=QUESTION)
            error = await self.assertFailure(asked, kind)
            self.assertEqual((error.status_code, error.body["message"]), (status, "made up"))

    async def test_wrong_token(self) -> None:
        """A wrong token is the SDK's `UnauthorizedError`, with the gateway's code."""
        asked = self.blocking(self.made("aigw_wrong").chat, model="command-a-03-2025", messages=QUESTION)
        error = await self.assertFailure(asked, cohere.UnauthorizedError)
        self.assertEqual(error.body["internalCode"], 2009)
        self.assertEqual(self.provider.requests, [])

"""
AWS's Python SDK for Bedrock. Shapes: https://docs.aws.amazon.com/bedrock/latest/APIReference (Converse, ConverseStream,
InvokeModel and common errors).
"""

from __future__ import annotations

import json
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from aigw.testing.data_port import TOKEN
from aigw.testing.event_stream import event
from aigw.testing.provider import WAIT, event_stream, json_answer
from tests.clients.sdk import SdkTestCase

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
PATH = f"/model/{MODEL.replace(':', '%3A')}"
QUESTION = [{"role": "user", "content": [{"text": "Will it rain?"}]}]
USAGE = {"inputTokens": 30, "outputTokens": 12, "totalTokens": 42}
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "It will."}]}},
    "stopReason": "end_turn",
    "usage": USAGE,
    "metrics": {"latencyMs": 551},
}


class BedrockSdkTests(SdkTestCase):
    """`boto3.client("bedrock-runtime")` with another `endpoint_url`, unsigned: the gateway signs."""

    slug = "aws-bedrock"
    settings = {"access_key_id": "AKIAFAKE", "secret_access_key": "fake-secret", "region": "us-east-1"}

    async def setUp(self) -> None:
        await super().setUp()
        self.client = self.made(TOKEN)

    def made(self, token: str) -> Any:
        """A client whose requests have the gateway's token in a header of its own."""
        client = boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=f"{self.url}/bedrock-runtime/us-east-1",
            config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}),
        )

        def add_token(request: Any, **_: Any) -> None:
            request.headers["cf-aig-authorization"] = f"Bearer {token}"

        # The SDK's own way to add a header: https://boto3.amazonaws.com/v1/documentation/api/latest/guide/events.html
        client.meta.events.register("before-send.bedrock-runtime.*", add_token)
        self.addCleanup(client.close)
        return client

    async def test_converse(self) -> None:
        """A conversation is answered; what reaches AWS is signed with the operator's key."""
        self.provider.on(f"{PATH}/converse", json_answer(CONVERSED))
        found = await self.blocking(self.client.converse, modelId=MODEL, messages=QUESTION)
        self.assertEqual(found["output"]["message"]["content"][0]["text"], "It will.")
        self.assertRegex(self.sent()["authorization"], "^AWS4-HMAC-SHA256 Credential=AKIAFAKE/.*/us-east-1/bedrock/")
        self.assert_no_token_left()
        (record,) = self.port.sink.ended
        assert record.usage is not None
        self.assertEqual((record.target.model, record.usage.tokens_in, record.usage.tokens_out), (MODEL, 30, 12))

    async def test_converse_stream(self) -> None:
        """A stream of AWS's binary events comes piece by piece, byte for byte, and its tokens are in the log."""
        events = (
            event("messageStart", {"role": "assistant"}),
            event("contentBlockDelta", {"delta": {"text": "It "}, "contentBlockIndex": 0}),
            WAIT,
            event("contentBlockDelta", {"delta": {"text": "will."}, "contentBlockIndex": 0}),
            event("contentBlockStop", {"contentBlockIndex": 0}),
            event("messageStop", {"stopReason": "end_turn"}),
            event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 551}}),
        )
        script = event_stream(*events, headers={"content-type": "application/vnd.amazon.eventstream"})
        self.provider.on(f"{PATH}/converse-stream", script)

        def read() -> list[str]:
            texts: list[str] = []
            for piece in self.client.converse_stream(modelId=MODEL, messages=QUESTION)["stream"]:
                if "contentBlockDelta" in piece:
                    texts.append(piece["contentBlockDelta"]["delta"]["text"])
                    if len(texts) == 1:
                        self.go()
            return texts

        self.assertEqual(await self.blocking(read), ["It ", "will."])
        (record,) = self.port.sink.ended
        assert record.usage is not None
        self.assertEqual((record.usage.tokens_out, record.success), (12, True))

    async def test_invoke(self) -> None:
        """A model is invoked with a body of its own wording."""
        self.provider.on(f"{PATH}/invoke", json_answer({"completion": "It will."}))
        body = json.dumps({"prompt": "Will it rain?"})
        found = await self.blocking(self.client.invoke_model, modelId=MODEL, body=body)
        self.assertEqual(json.loads(found["body"].read()), {"completion": "It will."})
        self.assertEqual(self.provider.requests[0].body, body.encode())

    async def test_errors(self) -> None:
        """AWS's errors become the exceptions that the SDK has for them; a wrong token is a client error with 401."""
        for status, name in (
            (400, "ValidationException"),
            (403, "AccessDeniedException"),
            (404, "ResourceNotFoundException"),
            (429, "ThrottlingException"),
            (503, "ServiceUnavailableException"),
        ):
            headers = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/", "x-amzn-requestid": "r-1"}
            self.provider.on(f"{PATH}/converse", json_answer({"message": "made up"}, status=status, headers=headers))
            asked = self.blocking(self.client.converse, modelId=MODEL, messages=QUESTION)
            error = await self.assertFailure(asked, getattr(self.client.exceptions, name))
            self.assertEqual(error.response["Error"], {"Message": "made up", "Code": name})
        asked = self.blocking(self.made("aigw_wrong").converse, modelId=MODEL, messages=QUESTION)
        refused = await self.assertFailure(asked, ClientError)
        self.assertEqual(refused.response["ResponseMetadata"]["HTTPStatusCode"], 401)

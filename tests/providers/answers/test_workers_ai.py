"""Workers AI in its own form."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.values.usage import Usage
from tests.providers.answers.streams import read_body, read_stream, sse


class WorkersAITests(SynchronousTestCase):
    """Shapes: developers.cloudflare.com/workers-ai/models, and the example of the WebSocket's page."""

    def test_a_stream(self) -> None:
        """Chunks of text, then usage, then the mark."""
        usage = b'{"response":"","usage":{"prompt_tokens":21,"completion_tokens":8,"total_tokens":29}}'
        reader = read_stream("workers-ai", sse(b'{"response":"would"}', usage, b"[DONE]"))
        self.assertEqual((reader.usage, reader.terminal, reader.text_bytes), (Usage(21, 8), True, 5))
        self.assertFalse(read_stream("workers-ai", sse(b'{"response":"would"}', usage)).terminal)

    def test_a_whole_answer(self) -> None:
        """The answer stands inside Cloudflare's envelope."""
        body = (
            b'{"result":{"response":"Hi","usage":{"prompt_tokens":4,"completion_tokens":1}},"success":true,"errors":[]}'
        )
        self.assertEqual(read_body("workers-ai", body).usage, Usage(4, 1))
        refused = b'{"result":null,"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}'
        self.assertEqual(read_body("workers-ai", refused).error, "Authentication error")

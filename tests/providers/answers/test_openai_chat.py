"""Chat completions and their likes. Shapes: platform.openai.com/docs/api-reference/chat, and the vendors' own pages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.values.usage import Usage
from tests.providers.answers.streams import read_body, read_stream, sse

HEAD = b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-mini-2024-07-18","choices":'
ROLE = HEAD + b'[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}'
HELLO = HEAD + b'[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}],"usage":null}'
STOP = HEAD + b'[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}'
USAGE = HEAD + (
    b'[],"usage":{"prompt_tokens":1117,"completion_tokens":46,"total_tokens":1163,"prompt_tokens_details":'
    b'{"cached_tokens":1024,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":12}}}'
)
REQUEST = (
    b'{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text",'
    b'"text":"Say hello"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAAAAAAAAAAAAAAAAAA"}}]}]}'
)


class StreamTests(SynchronousTestCase):
    """Streams of chunks."""

    def test_usage_model_and_end(self) -> None:
        """A stream with `include_usage` tells tokens, the cached ones apart, and ends with its mark."""
        reader = read_stream("openai-chat", sse(ROLE, HELLO, HELLO, STOP, USAGE, b"[DONE]"))
        self.assertEqual(reader.usage, Usage(1117, 46, cache_read=1024))
        self.assertEqual(reader.model, "gpt-4o-mini-2024-07-18")
        self.assertTrue(reader.terminal)
        self.assertEqual(reader.error, "")

    def test_without_done_it_is_not_complete(self) -> None:
        """A stream that stops before `[DONE]` has not ended, even after its finish reason."""
        for stream in (sse(ROLE, HELLO), sse(ROLE, HELLO, STOP), sse(ROLE, HELLO, STOP, USAGE)):
            self.assertFalse(read_stream("openai-chat", stream).terminal)

    def test_vendors_without_done(self) -> None:
        """For a vendor that leaves `[DONE]` out, a finish reason completes the stream; null and "" do not."""
        self.assertTrue(read_stream("openai-chat", sse(ROLE, HELLO, STOP), done_mark=False).terminal)
        empty = HELLO.replace(b'"finish_reason":null', b'"finish_reason":""')
        self.assertFalse(read_stream("openai-chat", sse(ROLE, empty), done_mark=False).terminal)

    def test_usage_is_estimated_from_the_text(self) -> None:
        """A stream without usage is guessed at four bytes a token, pictures left out, and says that it is a guess."""
        reader = read_stream("openai-chat", sse(ROLE, HELLO, HELLO, HELLO, STOP, b"[DONE]"))
        self.assertIsNone(reader.usage)
        # 15 bytes of text; 18 bytes in the request.
        self.assertEqual(reader.estimate(REQUEST), Usage(5, 4, estimated=True))
        self.assertEqual(reader.usage, Usage(5, 4, estimated=True))

    def test_told_usage_is_not_replaced_by_a_guess(self) -> None:
        """Where the vendor counted, its numbers stay."""
        reader = read_stream("openai-chat", sse(HELLO, USAGE, b"[DONE]"))
        self.assertEqual(reader.estimate(REQUEST), Usage(1117, 46, cache_read=1024))

    def test_nothing_to_guess_by(self) -> None:
        """A stream without any text has no usage."""
        self.assertIsNone(read_stream("openai-chat", sse(ROLE, b"[DONE]")).estimate(REQUEST))

    def test_text_of_all_kinds_is_counted(self) -> None:
        """Reasoning, tool arguments, legacy completions, escapes and spaces after colons all count by their length."""
        for delta, expected in (
            (rb'{"content":"say \"hi\"\n"}', 9),
            (rb'{"content":"\u4f60\u597d"}', 6),
            (rb'{"content":"ends with \\"}', 11),
            (b'{"content": "spaced"}', 6),
            (b'{"content":null,"reasoning_content":"think"}', 5),
            (b'{"content":"","reasoning":"think"}', 5),
            (rb'{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]}', 7),
        ):
            stream = sse(HEAD + b'[{"index":0,"delta":' + delta + b',"finish_reason":null}]}')
            self.assertEqual(read_stream("openai-chat", stream).text_bytes, expected, delta)
        legacy = sse(b'{"model":"m","choices":[{"text":"four","index":0}]}')
        self.assertEqual(read_stream("openai-chat", legacy).text_bytes, 4)

    def test_text_cannot_pose_as_usage(self) -> None:
        """A model that writes JSON with usage, errors or marks in it changes nothing."""
        said = rb'{"content":"\"usage\":{\"prompt_tokens\":9},\"error\":{\"message\":\"x\"}, data: [DONE]"}'
        reader = read_stream("openai-chat", sse(ROLE, HEAD + b'[{"index":0,"delta":' + said + b"}]}"))
        self.assertEqual((reader.usage, reader.error, reader.terminal), (None, "", False))

    def test_an_error_inside_the_stream(self) -> None:
        """An error chunk ends the stream and is told, whether it comes alone, in a chunk or as a named event."""
        for stream, expected in (
            (sse(ROLE, b'{"error":{"message":"Overloaded","type":"server_error","code":null}}'), "Overloaded"),
            (sse(ROLE, HEAD + b'[],"error":{"code":502,"message":"Provider disconnected"}}'), "Provider disconnected"),
            (b'event: error\ndata: {"error":{"message":"tool_use_failed"}}\n\n', "tool_use_failed"),
            (b'event: error\ndata: {"code":"rate"}\n\n', '{"code":"rate"}'),
            (b"event: error\ndata: gone\n\n", "gone"),
            (sse(b'{"error":"flat text"}'), "flat text"),
            (sse(b'{"error":{}}', b'{"error":{"odd":[]}}'), "error"),
        ):
            reader = read_stream("openai-chat", stream)
            self.assertEqual((reader.error, reader.terminal), (expected, True))

    def test_usage_of_other_vendors(self) -> None:
        """Groq, DeepSeek, xAI, Gemini, Perplexity and Mistral word their usage a little differently each."""
        for told, expected in (
            # console.groq.com: without include_usage.
            (b'"x_groq":{"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}', Usage(5, 7)),
            # api-docs.deepseek.com/guides/kv_cache
            (
                b'"usage":{"prompt_tokens":90,"completion_tokens":7,"prompt_cache_hit_tokens":64,'
                b'"prompt_cache_miss_tokens":26}',
                Usage(90, 7, cache_read=64),
            ),
            # docs.x.ai: the total holds reasoning that completion_tokens leaves out; Gemini's OpenAI form as well.
            (
                b'"usage":{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,'
                b'"completion_tokens_details":{"reasoning_tokens":94}}',
                Usage(32, 103),
            ),
            # docs.perplexity.ai: sonar-deep-research lists them beside.
            (
                b'"usage":{"prompt_tokens":33,"completion_tokens":100,"total_tokens":133,"citation_tokens":20,'
                b'"num_search_queries":2,"reasoning_tokens":700}',
                Usage(33, 820),
            ),
            (
                b'"usage":{"prompt_tokens":4,"completion_tokens":5,"total_tokens":9,"prompt_audio_seconds":{}}',
                Usage(4, 5),
            ),
        ):
            reader = read_stream("openai-chat", sse(ROLE, b'{"choices":[],' + told + b"}", b"[DONE]"))
            self.assertEqual(reader.usage, expected, told)

    def test_garbage_is_passed_over(self) -> None:
        """Nonsense in the place of usage, model or chunk neither raises nor counts."""
        for payload in (
            b'{"usage":{"prompt_tokens":"12","completion_tokens":-1}}',
            b'{"usage":{"prompt_tokens":1e99,"completion_tokens":true}}',
            b'{"usage":{"prompt_tokens":' + b"9" * 5000 + b"}}",
            b'{"usage":[{"prompt_tokens":1}]}',
            b'{"usage":"_tokens"}',
            b'{"usage":{"prompt_tokens":NaN}}',
            b'{"model":7,"usage":{"prompt_tokens":null}}',
            b'"_tokens"',
            b'{"_tokens":',
            b"[" * 100_000,
            b'{"usage":' + b"[" * 100_000 + b'"_tokens"',
            b'\xff\xfe "_tokens"',
            rb'{"model":"\ud800","usage":{"_tokens":1}}',
            b"not json",
        ):
            reader = read_stream("openai-chat", sse(payload, b"[DONE]"))
            self.assertEqual((reader.usage, reader.terminal), (None, True), payload[:60])

    def test_cached_tokens_never_exceed_the_input(self) -> None:
        """A vendor's slip in one number cannot make a cost negative."""
        told = b'{"usage":{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":99}}}'
        self.assertEqual(read_stream("openai-chat", sse(told)).usage, Usage(10, 1, cache_read=10))


class BodyTests(SynchronousTestCase):
    """Whole answers."""

    def test_a_whole_answer(self) -> None:
        """A completion tells model and usage, and is complete as one JSON document."""
        reader = read_body(
            "openai-chat",
            b'{"id":"c","object":"chat.completion","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant",'
            b'"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}',
        )
        self.assertEqual((reader.usage, reader.model, reader.terminal), (Usage(9, 2), "gpt-4o", True))

    def test_embeddings(self) -> None:
        """Embeddings use input only."""
        reader = read_body(
            "openai-chat",
            b'{"object":"list","data":[{"embedding":[0.1,-2e-3]}],"model":"text-embedding-3-small",'
            b'"usage":{"prompt_tokens":8,"total_tokens":8}}',
        )
        self.assertEqual((reader.usage, reader.model), (Usage(8, 0), "text-embedding-3-small"))

    def test_a_body_that_was_cut(self) -> None:
        """Half a document is not complete, and neither is no document at all."""
        for body in (b'{"model":"gpt-4o","choi', b"", b"<html>", b"[1,"):
            self.assertFalse(read_body("openai-chat", body).terminal, body)
        self.assertTrue(read_body("openai-chat", b"[1]").terminal)

    def test_an_error_body(self) -> None:
        """The vendor's words of an error are kept."""
        self.assertEqual(read_body("openai-chat", b'{"error":{"message":"Rate limit","code":"x"}}').error, "Rate limit")

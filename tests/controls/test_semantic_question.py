"""Two requests are compared by their questions when nothing else differs."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.semantic_question import BODY_BYTES, TEXT_CHARS, Question, read_question

USER = {"role": "user", "content": "Will it rain?"}
PICTURE = {"type": "image_url", "image_url": "https://img.example/1.png"}


def parts(*said: Any) -> dict[str, Any]:
    """A user's turn of several parts; a text is a part of that type."""
    return {
        "role": "user",
        "content": [{"type": "text", "text": each} if isinstance(each, str) else each for each in said],
    }


# A request in some vendor's dialect, and the question in it; empty for none.
QUESTIONS: dict[str, tuple[Any, str]] = {
    "chat": ({"model": "m", "messages": [{"role": "system", "content": "Be brief."}, USER]}, "Will it rain?"),
    "parts": ({"messages": [parts("Will", "it?")]}, "Will\nit?"),
    "picture": ({"messages": [parts(PICTURE, "Who?")]}, "Who?"),
    "picture alone": ({"messages": [parts(PICTURE)]}, ""),
    "responses": ({"input": "Will it rain?"}, "Will it rain?"),
    "responses, turns": ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Why?"}]}]}, "Why?"),
    "completions": ({"prompt": "It will"}, "It will"),
    "many prompts": ({"prompt": ["a", "b"]}, ""),
    "gemini": ({"contents": [{"parts": [{"text": "Will it rain?"}]}]}, "Will it rain?"),
    "converse": ({"messages": [{"role": "user", "content": [{"text": "Will it rain?"}]}]}, "Will it rain?"),
    "cohere": ({"message": "Will it rain?", "chat_history": []}, "Will it rain?"),
    "after a tool": ({"messages": [USER, {"role": "tool", "content": "7 mm"}]}, ""),
    "a tool's result": ({"messages": [{"role": "user", "content": [{"type": "tool_result", "text": "7 mm"}]}]}, ""),
    "prefilled": ({"messages": [USER, {"role": "assistant", "content": "It"}]}, ""),
    "no turns": ({"messages": []}, ""),
    "turns that are none": ({"messages": ["x"]}, ""),
    "too long": ({"prompt": "x" * (TEXT_CHARS + 1)}, ""),
    "blank": ({"prompt": "  "}, ""),
    "no request": ([1], ""),
}


def question(request: Any) -> Question | None:
    """What is read out of a request, behind a fixed beginning."""
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return read_question(body, sha256(b"gateway"))


class QuestionTests(SynchronousTestCase):
    def test_dialects(self) -> None:
        """The last thing that the user said is the question, in every vendor's dialect."""
        for name, (request, text) in QUESTIONS.items():
            read = question(request)
            self.assertEqual(read.text if read else "", text, name)

    def test_only_the_question_may_differ(self) -> None:
        """Another question, or another order of fields, leaves the fingerprint; anything else changes it."""
        system = {"role": "system", "content": "Be brief."}
        base: dict[str, Any] = {"model": "m", "temperature": 0, "messages": [system, USER]}
        one = question(base)
        asked = {"messages": [system, {**USER, "content": "Rain?"}], "temperature": 0, "model": "m"}
        other = question(asked)
        assert one is not None and other is not None
        self.assertEqual(one.fingerprint, other.fingerprint)
        self.assertNotEqual(one.digest, other.digest)
        for changed in (
            {**base, "model": "n"},
            {**base, "temperature": 1},
            {**base, "stream": True},
            {**base, "messages": [{**system, "content": "Be long."}, USER]},
            {**base, "messages": [system, USER, USER]},
            {**base, "messages": [system, {**USER, "name": "Ann"}]},
        ):
            read = question(changed)
            assert read is not None
            self.assertNotEqual(read.fingerprint, one.fingerprint, changed)

    def test_pictures(self) -> None:
        """Questions about another picture are not compared."""

        def about(picture: str) -> bytes:
            read = question({"messages": [parts({**PICTURE, "image_url": picture}, "Who?")]})
            assert read is not None
            return read.fingerprint

        self.assertEqual(about("a"), about("a"))
        self.assertNotEqual(about("a"), about("b"))

    def test_beginning(self) -> None:
        """Nor are questions to another gateway, or with another credential."""
        fingerprints = {read_question(b'{"prompt":"x"}', sha256(each)).fingerprint for each in (b"a", b"b")}  # type: ignore[union-attr]
        self.assertEqual(len(fingerprints), 2)

    def test_unreadable(self) -> None:
        """What is no JSON, too large, too deep, or holds half a character is passed over."""
        for body in (
            b"",
            b"{",
            b'{"prompt":"\xff"}',
            b'{"prompt":"\\ud800"}',
            b'{"messages":' + b"[" * 100_000,
            b'{"prompt":"x","y":"' + b"x" * BODY_BYTES + b'"}',
        ):
            self.assertIsNone(question(body), body[:30])

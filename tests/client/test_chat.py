"""A conversation through a gateway."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from aigw.client.chat import Chat, Partner, text_of
from aigw.client.connection import GatewayClient, client_factory
from aigw.client.failures import AnswerFailed
from aigw.client.terminal import Lines
from aigw.testing.data_port import TOKEN, MemoryDataPort
from aigw.testing.socket import Link
from aigw.testing.upstream import EVENT_STREAM, ScriptedCall


class ChatTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.port = MemoryDataPort()
        client: GatewayClient = client_factory(
            self.port.clock, "ws://gateway.test/v1/local/default", TOKEN, timeout_s=0
        ).buildProtocol(None)
        self.link = Link(self.port.server, client, self.port.clock)
        self.link.settle()
        self.client = client
        self.out = io.StringIO()
        self.pieces: list[Any] = []

    def chat(self, partner: Partner) -> Chat:
        return Chat(self.client, partner, self.pieces.append, self.out.write)

    def say(self, chat: Chat, message: str) -> tuple[ScriptedCall, Deferred[Mapping[str, Any]]]:
        turn = Deferred.fromCoroutine(chat.say(message))
        self.link.settle()
        return self.port.upstream.calls[-1], turn

    def stream(self, call: ScriptedCall, *words: str) -> None:
        call.head(200, EVENT_STREAM)
        for word in words:
            call.events(json.dumps({"choices": [{"index": 0, "delta": {"content": word}}]}).encode())
        call.events(b"[DONE]")
        call.complete()
        self.link.settle()

    def test_the_answer_streams(self) -> None:
        """Words appear as they come, and the answer's log can be found afterwards."""
        call, turn = self.say(self.chat(Partner("openai", "gpt-fake")), "hello")
        self.stream(call, "good ", "day")
        self.assertEqual(self.out.getvalue(), "good day")
        self.assertEqual(len(self.successResultOf(turn)["logId"]), 36)
        self.assertEqual(len(self.pieces), 2)

    def test_it_remembers(self) -> None:
        """The second turn sends what was said before, on both sides."""
        chat = self.chat(Partner("openai", "gpt-fake"))
        self.stream(self.say(chat, "one")[0], "two")
        call, _ = self.say(chat, "three")
        said = [(message["role"], message["content"]) for message in json.loads(call.request.body)["messages"]]
        self.assertEqual(said, [("user", "one"), ("assistant", "two"), ("user", "three")])

    def test_a_failed_turn_is_forgotten(self) -> None:
        """After an error the conversation goes on from where it was."""
        chat = self.chat(Partner("openai", "gpt-fake"))
        call, turn = self.say(chat, "one")
        call.answer(b'{"error":{"message":"overloaded"}}', 503)
        self.link.settle()
        self.assertEqual(str(self.failureResultOf(turn, AnswerFailed).value), "overloaded")
        call, _ = self.say(chat, "two")
        self.assertEqual(len(json.loads(call.request.body)["messages"]), 1)

    def test_one_piece(self) -> None:
        """A provider that does not stream is shown all the same."""
        call, turn = self.say(self.chat(Partner("openai", "gpt-fake")), "hello")
        call.answer(b'{"choices":[{"message":{"content":"whole"}}]}')
        self.link.settle()
        self.successResultOf(turn)
        self.assertEqual(self.out.getvalue(), "whole")

    def test_where_chats_live(self) -> None:
        """Anthropic is asked where its chats live and with the field that it wants; a path of one's own goes first."""
        call, _ = self.say(self.chat(Partner("anthropic", "claude-fake", headers={"x-api-key": "sk-fake"})), "hello")
        self.assertTrue(call.request.url.endswith(b"/v1/messages"))
        self.assertIn("max_tokens", json.loads(call.request.body))
        self.assertIn((b"x-api-key", b"sk-fake"), call.request.headers)
        call, _ = self.say(self.chat(Partner("openai", "gpt-fake", endpoint="other/path")), "hello")
        self.assertTrue(call.request.url.endswith(b"/other/path"))


class TextTests(SynchronousTestCase):
    def test_the_usual_words(self) -> None:
        """The text is found in the pieces and whole answers of the common families."""
        for piece in (
            {"choices": [{"delta": {"content": "x"}}]},
            {"choices": [{"message": {"content": "x"}}]},
            {"choices": [{"text": "x"}]},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}},
            {"content": [{"type": "text", "text": "x"}]},
            {"response": "x"},
        ):
            self.assertEqual(text_of(piece), "x", piece)

    def test_nothing_to_show(self) -> None:
        """What holds no text, or is of no known form, shows nothing and stops nothing."""
        for piece in (None, "x", [], {}, {"choices": None}, {"choices": [3, {"delta": None}]}, {"delta": {"text": 3}}):
            self.assertEqual(text_of(piece), "", piece)


class LinesTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Each line is a turn, whatever the pieces in which the input comes; the last needs no end."""
        lines = Lines()
        first = Deferred.fromCoroutine(lines.next())
        lines.dataReceived(b"on")
        self.assertNoResult(first)
        lines.dataReceived(b"e\r\ntwo\nth")
        lines.dataReceived("r\u00e9".encode())
        lines.connectionLost()
        rest = [self.successResultOf(Deferred.fromCoroutine(lines.next())) for _ in range(3)]
        self.assertEqual([self.successResultOf(first), *rest], ["one", "two", "thr\u00e9", None])

"""What a sandbox model's name asks for."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IBodyProducer

from aigw.errors import ClientGone, ConnectFailed, FirstByteTimeout, IdleTimeout, InvalidField, TruncatedStream
from aigw.serving.wheel import Wheel
from aigw.upstream.agent import SchemeAgent
from aigw.upstream.call import Call
from aigw.upstream.client import DirectClient
from aigw.upstream.sandbox import Sandbox
from aigw.upstream.sandbox_script import Script, read_script
from aigw.values.step import Clocks, UpstreamRequest
from tests.upstream.bodies import HandBody
from tests.upstream.receiver import Recorder

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Hello  there, sandbox"}]},
]


class SandboxCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = Wheel(self.clock)
        sandbox = Sandbox(self.clock, 20, lambda: 1_700_000_000.5)
        self.client = DirectClient(SchemeAgent({b"sandbox": sandbox}))

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def send(
        self, model: str = "echo", path: str = "/v1/chat/completions", clocks: Clocks | None = None, **body: Any
    ) -> tuple[Call, Recorder]:
        payload = json.dumps({"model": model, "messages": MESSAGES, **body}).encode()
        return self.send_bytes(payload, path, clocks)

    def send_bytes(
        self, payload: bytes | IBodyProducer, path: str, clocks: Clocks | None = None
    ) -> tuple[Call, Recorder]:
        url = f"sandbox://local{path}".encode()
        request = UpstreamRequest(b"POST", url, ((b"authorization", b"sk-fake"),), payload, clocks or Clocks())
        receiver = Recorder()
        call = Call(self.wheel, request, receiver)
        call.begin(self.client, request, self.clock)
        self.assertEqual(receiver.heard, [])
        return call, receiver

    def ask(self, model: str = "echo", **body: Any) -> Recorder:
        receiver = self.send(model, **body)[1]
        self.clock.pump([0.01] * 500)
        return receiver

    def events(self, receiver: Recorder) -> list[Any]:
        lines = receiver.body.decode().split("\n\n")
        self.assertEqual(lines.pop(), "")
        texts = [line.removeprefix("data: ") for line in lines]
        return [text if text == "[DONE]" else json.loads(text) for text in texts]


class AnswerTests(SandboxCase):
    def test_echo(self) -> None:
        """The last user message comes back as a chat completion, with usage."""
        got = self.ask()
        answer = json.loads(got.body)
        self.assertEqual(answer["choices"][0]["message"], {"role": "assistant", "content": "Hello  there, sandbox"})
        self.assertEqual(answer["usage"], {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8})
        self.assertEqual((answer["created"], answer["object"]), (1_700_000_000, "chat.completion"))
        self.assertIn((b"content-length", b"%d" % len(got.body)), got.headers)

    def test_stream(self) -> None:
        """A stream is OpenAI's: the role, word by word, the reason, `[DONE]`; no usage, as nobody asked for it."""
        got = self.ask(stream=True)
        *chunks, done = self.events(got)
        self.assertEqual((done, got.ending, got.heard.count("data")), ("[DONE]", "completed", 6))
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        self.assertEqual(deltas[0], {"role": "assistant", "content": ""})
        self.assertEqual("".join(delta.get("content", "") for delta in deltas), "Hello  there, sandbox")
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "stop")
        self.assertFalse(any("usage" in chunk for chunk in chunks))

    def test_stream_with_usage(self) -> None:
        """With `include_usage` every chunk has the field, and one more chunk at the end has the numbers."""
        got = self.ask("words-4", stream=True, stream_options={"include_usage": True})
        *chunks, last, _ = self.events(got)
        self.assertEqual({chunk["usage"] for chunk in chunks}, {None})
        self.assertEqual(last["choices"], [])
        self.assertEqual(last["usage"], {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9})

    def test_embeddings_and_models(self) -> None:
        """Embeddings are the same for the same text; the list of models is there."""
        got = self.ask(path="/v1/embeddings", input=["a b", "a b", "c"])
        answer = json.loads(got.body)
        first, second, third = (item["embedding"] for item in answer["data"])
        self.assertEqual((first, answer["usage"]["prompt_tokens"]), (second, 5))
        self.assertNotEqual(first, third)
        self.assertEqual(json.loads(self.ask(path="/v1/models?x=1").body)["object"], "list")

    def test_bad_address(self) -> None:
        """An address that no provider could have is refused here too."""
        _, got = self.send(path="/v1/a b")
        self.clock.advance(0)
        self.assertIsInstance(got.error, InvalidField)

    def test_not_understood(self) -> None:
        """Other addresses and bodies that are no request are refused as OpenAI would."""
        self.assertEqual(self.ask(path="/v1/audio").status, 404)
        for payload in (b"", b"[]", b"{", b'{"messages": 1}', b"[" * 100_000):
            _, got = self.send_bytes(payload, "/chat/completions")
            self.clock.pump([0.01] * 2)
            self.assertEqual((got.status, json.loads(got.body)["error"]["type"]), (400, "invalid_request_error"))


class PaceTests(SandboxCase):
    def test_pace(self) -> None:
        """Chunks come one by one at the pace of the settings, or of the model's name."""
        for model, between_s in (("words-5", 0.02), ("words-5+pace-500", 0.5)):
            _, got = self.send(model, stream=True)
            self.clock.advance(0.002)
            self.assertEqual(got.heard, ["head", "data"])
            self.clock.advance(between_s * 0.9)
            self.assertEqual(got.heard.count("data"), 1)
            self.clock.advance(between_s * 0.1 + 0.003)
            self.assertEqual(got.heard.count("data"), 2)
            self.clock.pump([between_s] * 20)
            self.assertEqual(got.ending, "completed")

    def test_at_once(self) -> None:
        """At a pace of 0 all comes in one turn."""
        _, got = self.send("words-500+pace-0", stream=True)
        self.clock.advance(0.002)
        self.assertEqual((got.heard.count("data"), got.ending), (503, "completed"))

    def test_slow(self) -> None:
        """The first byte takes its time, and the first-byte clock runs meanwhile."""
        _, got = self.send("slow-2000")
        self.clock.advance(1.99)
        self.assertEqual(got.heard, [])
        self.clock.pump([0.02] * 3)
        self.assertEqual(got.ending, "completed")
        _, got = self.send("slow-2000", clocks=Clocks(first_byte_s=1))
        self.clock.advance(1.2)
        self.assertIsInstance(got.error, FirstByteTimeout)

    def test_pause_and_stop(self) -> None:
        """A paused sandbox says nothing, and a stopped one nothing more."""
        for pace in ("0", "20"):
            call, got = self.send(f"words-50+pace-{pace}", stream=True)
            got.react = lambda name, got=got, call=call: call.pause() if got.heard.count("data") == 3 else None
            self.clock.pump([0.02] * 100)
            self.assertEqual(got.heard.count("data"), 3)
            got.react = lambda name, got=got, call=call: call.stop() if got.heard.count("data") == 6 else None
            call.resume()
            self.clock.pump([0.02] * 100)
            self.assertEqual((got.heard.count("data"), got.heard[-1]), (6, "data"))

    def test_wavering_reader(self) -> None:
        """A reader that pauses and resumes within each chunk gets every word once."""
        for pace in ("0", "20"):
            call, got = self.send(f"words-20+pace-{pace}", stream=True)
            got.react = lambda name, call=call: (call.pause(), call.resume())
            self.clock.pump([0.02] * 200)
            self.assertEqual((len(self.events(got)), got.heard[-1]), (23, "completed"))


class TroubleTests(SandboxCase):
    def test_errors(self) -> None:
        """An error has the status that was asked for and OpenAI's body; `rate-limited` says when to come back."""
        for model, status, kind in (
            ("error-500", 500, "server_error"),
            ("error-418", 418, "invalid_request_error"),
            ("error-401+slow-10", 401, "authentication_error"),
            ("rate-limited", 429, "rate_limit_error"),
        ):
            got = self.ask(model, stream=True)
            self.assertEqual((got.status, json.loads(got.body)["error"]["type"]), (status, kind))
        self.assertIn((b"retry-after", b"1"), got.headers)

    def test_cut(self) -> None:
        """A stream that is cut has its chunks, no `[DONE]`, and an error."""
        got = self.ask("truncate-after-3", stream=True)
        self.assertIsInstance(got.error, TruncatedStream)
        self.assertEqual(got.heard, ["head", "data", "data", "data", "failed"])

    def test_silence(self) -> None:
        """`hang` and `stall-after` run into the clocks that are there for them."""
        _, hang = self.send("hang", clocks=Clocks(first_byte_s=30))
        _, stall = self.send("stall-after-2", clocks=Clocks(idle_s=30), stream=True)
        self.clock.pump([1] * 35)
        self.assertIsInstance(hang.error, FirstByteTimeout)
        self.assertEqual((stall.heard.count("data"), type(stall.error)), (2, IdleTimeout))

    def test_connect_failed(self) -> None:
        """A provider that cannot be reached."""
        self.assertIsInstance(self.ask("connect-failed").error, ConnectFailed)

    def test_odd_bodies(self) -> None:
        """Bodies that a gateway must pass on without understanding them."""
        with self.assertRaises(ValueError):
            json.loads(self.ask("garbage").body)
        got = self.ask("binary")
        self.assertIn((b"content-type", b"audio/mpeg"), got.headers)
        self.assertEqual(len(got.body), 8 * 1028)

    def test_no_usage(self) -> None:
        """A provider that never tells what it used."""
        self.assertNotIn("usage", json.loads(self.ask("no-usage").body))
        got = self.ask("no-usage", stream=True, stream_options={"include_usage": True})
        self.assertNotIn(b'"usage"', got.body)


class ScriptTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Parts combine; what is no part echoes."""
        self.assertEqual(read_script("slow-100+words-50"), Script(slow_ms=100, words=50))
        self.assertEqual(
            read_script("truncate-after-3+pace-5+no-usage"), Script(truncate_after=3, pace_ms=5, no_usage=True)
        )
        for name in ("echo", "gpt-4o", "", "error-99", "error-600", "words-99999999999", "slow-", "+", "hang-1"):
            self.assertEqual(read_script(name), Script(), name)

    def test_every_part_is_in_the_table(self) -> None:
        """The one table that users read names every part."""
        for part in ("words-", "slow-", "pace-", "error-", "rate-limited", "connect-failed", "hang", "stall-after-"):
            self.assertIn(f"| `{part}", Script.__doc__ or "")
        for part in ("truncate-after-", "garbage", "binary", "no-usage", "echo"):
            self.assertIn(f"| `{part}", Script.__doc__ or "")


class StreamedBodyTests(SandboxCase):
    def test_read_when_it_has_come(self) -> None:
        """A request whose body comes in pieces is answered when all of it is there; its coming takes no one's time."""
        body = HandBody()
        _, got = self.send_bytes(body, "/v1/chat/completions", Clocks(first_byte_s=1, idle_s=1))
        payload = json.dumps({"model": "echo", "messages": MESSAGES}).encode()
        for at in range(0, len(payload), 40):
            self.clock.advance(10)
            body.make(payload[at : at + 40])
        self.assertEqual(got.heard, [])
        body.done.callback(None)
        self.clock.pump([0.01] * 100)
        self.assertIn(b"Hello  there, sandbox", got.body)
        self.assertEqual((got.ending, body.told), ("completed", ["start"]))

    def test_more_than_is_read(self) -> None:
        """An upload of any size is taken, and fills no memory."""
        body = HandBody()
        _, got = self.send_bytes(body, "/v1/audio/transcriptions")
        for _ in range(50):
            body.make(b"x" * 100_000)
        body.done.callback(None)
        self.clock.pump([0.01] * 10)
        self.assertEqual((got.status, got.ending), (400, "completed"))

    def test_ends(self) -> None:
        """A client that leaves in the middle ends the request, and a call that is stopped ends the body."""
        gone, stopped = HandBody(), HandBody()
        _, got = self.send_bytes(gone, "/v1/files")
        gone.done.errback(ClientGone())
        call, heard = self.send_bytes(stopped, "/v1/files")
        call.stop()
        self.clock.advance(1)
        self.assertEqual((type(got.error), gone.told), (ClientGone, ["start"]))
        self.assertEqual((heard.heard, stopped.told), ([], ["start", "stop"]))

"""Events in the shapes of OpenAI's reference, server events of the Realtime API (2024-12 and 2025-08 wording)."""

from __future__ import annotations

import base64
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.sessions import Heard, SessionReader, session_reader
from aigw.providers.sessions.openai import realtime_usage
from aigw.values.usage import Usage

USAGE = {
    "total_tokens": 1500,
    "input_tokens": 1000,
    "output_tokens": 500,
    "input_token_details": {
        "text_tokens": 400,
        "audio_tokens": 600,
        "cached_tokens": 300,
        "cached_tokens_details": {"text_tokens": 100, "audio_tokens": 200},
    },
    "output_token_details": {"text_tokens": 100, "audio_tokens": 400},
}
SECOND = base64.b64encode(bytes(48_000)).decode()


def event(**members: Any) -> bytes:
    """One event."""
    return json.dumps(members).encode()


class OpenAITests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reader: SessionReader = session_reader("openai")

    def provider(self, **members: Any) -> Heard | None:
        return self.reader.provider(event(**members), False)

    def client(self, **members: Any) -> Heard | None:
        return self.reader.client(event(**members), False)

    def test_usage_of_a_response(self) -> None:
        """Each response is a turn with its tokens, sound and cached sound told apart."""
        heard = self.provider(type="response.done", response={"status": "completed", "usage": USAGE})
        self.assertEqual(
            heard, Heard(usage=Usage(1000, 500, 300, audio_in=600, audio_out=400, audio_cache_read=200), turn=True)
        )

    def test_order_of_keys(self) -> None:
        """The bill is read wherever the event's type stands."""
        heard = self.provider(response={"output": [{"type": "message"}], "usage": USAGE}, type="response.done")
        assert heard is not None
        self.assertTrue(heard.turn)
        self.assertIsNotNone(heard.usage)

    def test_a_text_cannot_forge_a_bill(self) -> None:
        """A model that says the words of an event ends no turn."""
        words = event(type="response.done", response={"usage": USAGE}).decode()
        self.assertIsNone(self.provider(type="response.output_text.delta", delta=words))

    def test_odd_usage(self) -> None:
        """Counts that make no sense are passed over; parts never exceed the whole."""
        for told in (None, [], "x", {}, {"input_tokens": "9"}, {"input_tokens": -1}, {"output_tokens": 1e30}):
            self.assertIsNone(realtime_usage(told), told)
        told = {"input_tokens": 1, "input_token_details": {"audio_tokens": 5, "cached_tokens": 7}}
        self.assertEqual(realtime_usage(told), Usage(1, 0, 1, audio_in=1))

    def test_model(self) -> None:
        """The model is the one that the session was made with."""
        self.provider(type="session.created", session={"model": "gpt-realtime-2025-08-28"})
        self.assertEqual(self.reader.model, "gpt-realtime-2025-08-28")

    def test_seconds_of_sound(self) -> None:
        """A second of sound is a second, whichever wording and format it is in."""
        for kind in ("response.audio.delta", "response.output_audio.delta"):
            self.provider(type=kind, delta=SECOND)
        self.assertEqual(self.reader.audio_out_ms, 2000)
        self.client(type="input_audio_buffer.append", audio=SECOND)
        self.assertEqual(self.reader.audio_in_ms, 1000)
        self.provider(
            type="session.updated", session={"input_audio_format": "g711_ulaw", "output_audio_format": "pcm16"}
        )
        self.client(type="input_audio_buffer.append", audio=SECOND)
        self.assertEqual(self.reader.audio_in_ms, 1000 + 6000)
        audio = {
            "input": {"format": {"type": "audio/pcm", "rate": 24000}},
            "output": {"format": {"type": "audio/pcma"}},
        }
        self.provider(type="session.updated", session={"audio": audio})
        self.provider(type="response.output_audio.delta", delta=SECOND)
        self.assertEqual(self.reader.audio_out_ms, 2000 + 6000)

    def test_transcripts(self) -> None:
        """What both sides said is there as text."""
        for kind in ("response.audio_transcript.done", "response.output_audio_transcript.done"):
            self.assertEqual(self.provider(type=kind, transcript="Hi."), Heard(said=(("provider", "Hi."),)))
        for kind in ("response.text.done", "response.output_text.done"):
            self.assertEqual(self.provider(type=kind, text="Hi."), Heard(said=(("provider", "Hi."),)))
        understood = "conversation.item.input_audio_transcription.completed"
        self.assertEqual(self.provider(type=understood, transcript="Who?"), Heard(said=(("client", "Who?"),)))
        item = {"type": "message", "content": [{"type": "input_text", "text": "typed"}]}
        self.assertEqual(self.client(type="conversation.item.create", item=item), Heard(said=(("client", "typed"),)))

    def test_nonsense(self) -> None:
        """Nothing that either side sends makes the reader fail."""
        for wording in ("openai", "google", "elevenlabs", "deepgram", "cartesia", "unknown"):
            for query in ("", "sample_rate=x&encoding=linear16&channels=%00", "channels=99&sample_rate=" + "9" * 5000):
                reader = session_reader(wording, query)  # type: ignore[arg-type]  # one of them
                for payload in (
                    *(b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"type":', b'{"type":5}', b"[" * 100_000),
                    *(b'{"type":"response.done"}', b'{"type":"response.done","response":[]}', b'{"serverContent":{}}'),
                    *(b'{"type":"session.created","session":{"model":5,"audio":[],"input_audio_format":{}}}',),
                    *(b'{"type":"Results","is_final":true,"channel":{"alternatives":{}}}', b'{"setup":{"model":[]}}'),
                    *(
                        b'{"usageMetadata":[],"serverContent":{"turnComplete":true}}',
                        b'{"serverContent":{"modelTurn":1}}',
                    ),
                    *(b'{"output_format":{"encoding":[]},"transcript":7}', b'{"type":"Metadata","duration":1e400}'),
                ):
                    for binary in (False, True):
                        reader.client(payload, binary)
                        reader.provider(payload, binary)
                reader.end()

"""Messages in the shapes of ElevenLabs', Deepgram's and Cartesia's references for their sockets."""

from __future__ import annotations

import base64
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.sessions import Heard, SessionReader, session_reader

SECOND_16KHZ = base64.b64encode(bytes(32_000)).decode()


def provider(reader: SessionReader, **members: Any) -> Heard | None:
    """A message from the provider."""
    return reader.provider(json.dumps(members).encode(), False)


def client(reader: SessionReader, **members: Any) -> Heard | None:
    """A message from the client."""
    return reader.client(json.dumps(members).encode(), False)


class ElevenLabsTests(SynchronousTestCase):
    def test_conversation(self) -> None:
        """Both transcripts, the sound of both sides, and a turn for each response of the agent."""
        reader = session_reader("elevenlabs", "agent_id=a")
        formats = {"agent_output_audio_format": "pcm_16000", "user_input_audio_format": "ulaw_8000"}
        provider(reader, type="conversation_initiation_metadata", conversation_initiation_metadata_event=formats)
        client(reader, user_audio_chunk=SECOND_16KHZ)
        provider(reader, type="audio", audio_event={"audio_base_64": SECOND_16KHZ, "event_id": 1})
        self.assertEqual(round(reader.audio_in_ms or 0), 4000)
        self.assertEqual(round(reader.audio_out_ms or 0), 1000)
        said = provider(reader, type="user_transcript", user_transcription_event={"user_transcript": "Hello"})
        self.assertEqual(said, Heard(said=(("client", "Hello"),)))
        said = provider(reader, type="agent_response", agent_response_event={"agent_response": "Hi"})
        self.assertEqual(said, Heard(said=(("provider", "Hi"),), turn=True))


class DeepgramTests(SynchronousTestCase):
    def test_listening(self) -> None:
        """Sound is as long as the address says it is coded, until the vendor tells how long it was."""
        reader = session_reader("deepgram", "model=nova-3&encoding=linear16&sample_rate=16000")
        reader.client(bytes(32_000), True)
        self.assertEqual(reader.audio_in_ms, 1000)
        provider(reader, type="Metadata", duration=1.5)
        self.assertEqual(reader.audio_in_ms, 1500)

    def test_transcript(self) -> None:
        """Only what is final is kept."""
        reader = session_reader("deepgram")
        channel = {"alternatives": [{"transcript": "so it goes", "confidence": 0.9}]}
        self.assertIsNone(provider(reader, type="Results", is_final=False, channel=channel))
        heard = provider(reader, type="Results", is_final=True, speech_final=True, channel=channel)
        self.assertEqual(heard, Heard(said=(("client", "so it goes"),), turn=True))
        heard = provider(reader, type="TurnInfo", event="EndOfTurn", transcript="yes")
        self.assertEqual(heard, Heard(said=(("client", "yes"),), turn=True))

    def test_speaking(self) -> None:
        """Text to be spoken is kept, and each flush is a turn."""
        reader = session_reader("deepgram", "model=aura-1&encoding=mulaw")
        self.assertEqual(client(reader, type="Speak", text="Hello"), Heard(said=(("client", "Hello"),)))
        reader.provider(bytes(8_000), True)
        self.assertEqual(reader.audio_out_ms, 1000)
        self.assertEqual(provider(reader, type="Flushed"), Heard(turn=True))

    def test_sound_of_unknown_length(self) -> None:
        """What is compressed has no length that could be told from its bytes."""
        reader = session_reader("deepgram", "encoding=opus&sample_rate=16000")
        reader.client(bytes(1000), True)
        self.assertIsNone(reader.audio_in_ms)


class CartesiaTests(SynchronousTestCase):
    def test_speaking(self) -> None:
        """Model, text, sound and the end of a context."""
        reader = session_reader("cartesia")
        wanted = {"container": "raw", "encoding": "pcm_f32le", "sample_rate": 8000}
        heard = client(reader, model_id="sonic-2", transcript="Hello", output_format=wanted)
        self.assertEqual((heard, reader.model), (Heard(said=(("client", "Hello"),)), "sonic-2"))
        provider(reader, type="chunk", data=SECOND_16KHZ, done=False)
        self.assertEqual(round(reader.audio_out_ms or 0), 1000)
        self.assertEqual(provider(reader, type="done", done=True), Heard(turn=True))

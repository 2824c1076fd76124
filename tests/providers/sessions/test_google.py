"""Messages in the shapes of Google's reference for the Live API (BidiGenerateContent)."""

from __future__ import annotations

import base64
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.sessions import Heard, SessionReader, session_reader
from aigw.values.usage import Usage

USAGE = {
    "promptTokenCount": 900,
    "responseTokenCount": 200,
    "toolUsePromptTokenCount": 50,
    "thoughtsTokenCount": 30,
    "cachedContentTokenCount": 100,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 300}, {"modality": "AUDIO", "tokenCount": 600}],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 180}],
}
PCM = base64.b64encode(bytes(32_000)).decode()


class GoogleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reader: SessionReader = session_reader("google")

    def provider(self, **members: Any) -> Heard | None:
        # Google sends JSON in binary frames.
        return self.reader.provider(json.dumps(members).encode(), True)

    def client(self, **members: Any) -> Heard | None:
        return self.reader.client(json.dumps(members).encode(), False)

    def test_turn(self) -> None:
        """A turn's usage is the last that was told within it, sound told apart."""
        self.assertIsNone(self.provider(usageMetadata={"promptTokenCount": 1}))
        self.assertIsNone(self.provider(usageMetadata=USAGE, serverContent={"generationComplete": True}))
        heard = self.provider(serverContent={"turnComplete": True})
        self.assertEqual(heard, Heard(usage=Usage(950, 230, 100, audio_in=600, audio_out=180), turn=True))

    def test_a_turn_that_was_cut_off_is_charged(self) -> None:
        """What was told when the session ended is not lost."""
        self.provider(usageMetadata=USAGE)
        heard = self.reader.end()
        assert heard is not None
        self.assertIsNotNone(heard.usage)
        self.assertIsNone(getattr(self.reader.end(), "usage", None))

    def test_model(self) -> None:
        """The model is the one that the client set up."""
        self.client(setup={"model": "models/gemini-2.0-flash-live-001"})
        self.assertEqual(self.reader.model, "gemini-2.0-flash-live-001")

    def test_seconds_of_sound(self) -> None:
        """Sound is as long as its rate says."""
        self.client(realtimeInput={"audio": {"data": PCM, "mimeType": "audio/pcm;rate=16000"}})
        self.client(realtimeInput={"mediaChunks": [{"data": PCM, "mimeType": "audio/pcm"}]})
        self.assertEqual(round(self.reader.audio_in_ms or 0), 2000)
        part = {"inlineData": {"data": PCM, "mimeType": "audio/pcm;rate=24000"}}
        self.provider(serverContent={"modelTurn": {"parts": [part]}})
        self.assertEqual(round(self.reader.audio_out_ms or 0), 667)

    def test_transcripts(self) -> None:
        """What both sides said comes together with the turn; thoughts were not said."""
        self.provider(serverContent={"inputTranscription": {"text": "Who "}})
        self.provider(serverContent={"inputTranscription": {"text": "are you?"}})
        self.provider(serverContent={"modelTurn": {"parts": [{"text": "hm", "thought": True}]}})
        self.provider(serverContent={"outputTranscription": {"text": "A model."}})
        heard = self.provider(serverContent={"turnComplete": True})
        assert heard is not None
        self.assertEqual(heard.said, (("client", "Who are you?"), ("provider", "A model.")))
        turns = [{"role": "user", "parts": [{"text": "typed"}]}]
        self.assertEqual(self.client(clientContent={"turns": turns}), Heard(said=(("client", "typed"),)))

    def test_long_turns_do_not_fill_memory(self) -> None:
        """A transcript without an end is told in parts."""
        told = [self.provider(serverContent={"outputTranscription": {"text": "x" * 10_000}}) for _ in range(10)]
        self.assertGreater(len([heard for heard in told if heard is not None]), 3)

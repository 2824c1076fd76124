"""The log's `model_type`."""

from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.model_types import model_type


class ModelTypeTests(SynchronousTestCase):
    """Vendors' own paths, and what a user would filter by."""

    def test_paths(self) -> None:
        """A log tells what kind of model was asked, whatever the vendor's way to write the path."""
        for path, expected in {
            "chat/completions": "chat",
            "v1/chat/completions": "chat",
            "/v1/messages": "chat",
            "responses": "chat",
            "v2/chat": "chat",
            "v1beta/models/gemini-2.5-pro:streamGenerateContent": "chat",
            "v1beta/models/text-embedding-004:embedContent": "embeddings",
            "v1/completions": "text",
            "v1/embeddings": "embeddings",
            "v2/embed": "embeddings",
            "images/generations": "image",
            "audio/speech": "speech",
            "v1/text-to-speech/voice": "speech",
            "audio/transcriptions": "transcription",
            "v1/listen": "transcription",
            "predictions": "",
            "": "",
        }.items():
            self.assertEqual(model_type(path), expected, path)

"""Secrets that stand in files and variables."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.secrets import read_secret


class ReadTests(SynchronousTestCase):
    """Where a value comes from."""

    def test_values(self) -> None:
        """A file's and a variable's content is taken without the line break behind it; anything else as it is."""
        file = Path(self.mktemp())
        file.write_text("fake-of-file\n")
        self.assertEqual(read_secret(f"file:{file}", {}), "fake-of-file")
        self.assertEqual(read_secret("env:KEY", {"KEY": " fake-of-env "}), "fake-of-env")
        self.assertEqual(read_secret("fake:plain", {}), "fake:plain")

    def test_what_is_missing_is_named(self) -> None:
        """The error names the file or the variable, so that it can be mended."""
        empty = Path(self.mktemp())
        empty.write_bytes(b"")
        binary = Path(self.mktemp())
        binary.write_bytes(b"\xff\xfe")
        for text, words in (
            ("env:KEY", "KEY is not set"),
            ("file:no/such", "no/such cannot be read"),
            (f"file:{empty}", "is empty"),
            (f"file:{binary}", "it is no text"),
        ):
            error = self.assertRaises(ValueError, read_secret, text, {})
            self.assertIn(words, str(error))

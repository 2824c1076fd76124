"""The master key on disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.master_key import FILE_NAME, ensure_master_key
from aigw.errors import ConfigurationError


class MasterKeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.data_dir = Path(self.mktemp())
        self.data_dir.mkdir()
        self.path = self.data_dir / FILE_NAME

    def test_the_first_start_makes_a_key(self) -> None:
        """The first start makes a private key of 32 random bytes and leaves nothing else behind."""
        self.addCleanup(os.umask, os.umask(0))
        key = ensure_master_key(self.data_dir, lambda count: b"k" * count)
        self.assertEqual(key, b"k" * 32)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.data_dir), [FILE_NAME])

    def test_later_starts_keep_it(self) -> None:
        """What was sealed once can be opened after a restart."""
        self.assertEqual(ensure_master_key(self.data_dir), ensure_master_key(self.data_dir))

    def test_a_damaged_key_is_not_replaced(self) -> None:
        """A key of the wrong length stops the start and stays as it is."""
        self.path.write_bytes(b"short")
        self.path.chmod(0o600)
        self.assertRaises(ConfigurationError, ensure_master_key, self.data_dir)
        self.assertEqual(self.path.read_bytes(), b"short")

    def test_a_public_key_is_refused(self) -> None:
        """A key that other users may read stops the start, with the command that mends it."""
        ensure_master_key(self.data_dir)
        self.path.chmod(0o644)
        error = self.assertRaises(ConfigurationError, ensure_master_key, self.data_dir)
        self.assertIn("chmod 600", str(error))

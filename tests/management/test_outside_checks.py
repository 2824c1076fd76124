"""What the doctor finds where no gateway runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.master_key import ensure_master_key
from aigw.logs.directory import REFUSED, SpoolDirectory
from aigw.management.checks import Check
from aigw.management.outside_checks import check_ports, check_spool, outside_checks

NOW_MS = 1_800_000_000_000


class PortTests(SynchronousTestCase):
    """Could a gateway listen?"""

    def bound(self, listens: bool = True) -> int:
        """A port of loopback that another program has."""
        other = socket.socket()
        self.addCleanup(other.close)
        other.bind(("127.0.0.1", 0))
        if listens:
            other.listen()
        return int(other.getsockname()[1])

    def test_a_taken_port(self) -> None:
        """The endpoint whose port another program has is named, those that are free are not."""
        port = self.bound()
        check = check_ports(["tcp:0:interface=127.0.0.1", f"tcp:{port}:interface=127.0.0.1"])
        self.assertEqual(check, Check("ports", False, f"tcp:{port}:interface=127.0.0.1: another program listens there"))

    def test_free_ports(self) -> None:
        """Free endpoints are listed, and nothing is left of the trial."""
        port = self.bound(listens=False)
        endpoint = f"tcp:{port}:interface=127.0.0.2"
        for _ in range(2):
            self.assertEqual(check_ports([endpoint]), Check("ports", True, f"free: {endpoint}"))

    def test_an_address_of_another_machine(self) -> None:
        """What this machine cannot bind is told in the system's words."""
        check = check_ports(["tcp:0:interface=203.0.113.7"])
        self.assertFalse(check.ok)
        self.assertIn("assign", check.text)

    def test_paths(self) -> None:
        """A socket that a living program has, and a folder that is not there, are told; a dead socket is not."""
        folder = Path(self.mktemp())
        folder.mkdir()
        path = os.path.relpath(folder / "s")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            other.listen()
            self.assertIn("another program", check_ports([f"unix:{path}"]).text)
        self.assertTrue(check_ports([f"unix:{path}"]).ok)
        self.assertTrue((folder / "s").exists())
        self.assertFalse(check_ports([f"unix:{folder}/none/s"]).ok)


class SpoolTests(SynchronousTestCase):
    """What ended processes left."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()

    def leave(self, *, refused: bool) -> None:
        """A spool with one segment, as a killed process leaves it."""
        directory = SpoolDirectory.create(self.root, UUID(int=7))
        directory.segment(1).write_bytes(bytes(100))
        if refused:
            (directory.path / REFUSED).mkdir()
            (directory.path / REFUSED / directory.segment(1).name).write_bytes(b"x")
        directory.release()

    def test_nothing_there(self) -> None:
        """A fresh folder, and one whose logs are all shipped, are well."""
        self.assertTrue(check_spool(self.root).ok)
        self.root.mkdir()
        self.assertEqual(check_spool(self.root), Check("spool", True, "empty"))

    def test_logs_that_wait(self) -> None:
        """Logs that wait for the next start are told with their size; they are safe, so all is well."""
        self.leave(refused=False)
        check = check_spool(self.root)
        self.assertTrue(check.ok)
        self.assertIn("100 bytes", check.text)

    def test_quarantine(self) -> None:
        """Logs that the database refused are not silent, and their folder is named."""
        self.leave(refused=True)
        check = check_spool(self.root)
        self.assertFalse(check.ok)
        self.assertIn(f"{UUID(int=7)}/{REFUSED}", check.text)


class OutsideTests(SynchronousTestCase):
    """All of it."""

    def test_the_clock(self) -> None:
        """A clock that was never set is told before any log gets its time."""
        data_dir = Path(self.mktemp()).absolute()
        data_dir.mkdir(mode=0o700)
        ensure_master_key(data_dir)
        self.assertEqual([check.name for check in outside_checks(data_dir, NOW_MS) if not check.ok], [])
        self.assertEqual([check.name for check in outside_checks(data_dir, 1000) if not check.ok], ["clock"])

"""The control socket as a file."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from aigw.management.control_client import CallRefused, ControlClient, NotRunning
from aigw.management.control_socket import AlreadyRunning
from aigw.management.socket_path import SOCKET_NAME, SocketPath
from tests.management.control import Control


class ControlSocketTests(TestCase):
    def setUp(self) -> None:
        self.data_dir = Path(self.mktemp()).absolute()

    def start(self, data_dir: Path) -> Control:
        control = Control(data_dir)
        control.socket.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(control.socket.stop()))
        return control

    def bind(self) -> socket.socket:
        """A socket at the control socket's place that is not the gateway's."""
        bound = socket.socket(socket.AF_UNIX)
        with SocketPath(self.data_dir) as place:
            bound.bind(str(place.path))
        return bound

    def test_only_the_owner_may_connect(self) -> None:
        """The socket is closed to other users, whatever the umask."""
        self.addCleanup(os.umask, os.umask(0))
        self.start(self.data_dir)
        self.assertEqual(stat.S_IMODE((self.data_dir / SOCKET_NAME).stat().st_mode), 0o600)

    async def test_a_long_path(self) -> None:
        """A data folder deep in the tree, too deep for a socket's path, works all the same."""
        control = self.start(self.data_dir / ("d" * 120) / "data")
        self.assertEqual((await control.call("GET", "/v1/about"))["version"], "0")
        await control.socket.stop()
        self.assertFalse((control.data_dir / SOCKET_NAME).exists())

    async def test_a_killed_gateway_is_succeeded(self) -> None:
        """The socket that a killed gateway left behind does not stop the next start."""
        self.data_dir.mkdir()
        self.bind().close()
        control = self.start(self.data_dir)
        self.assertEqual((await control.call("GET", "/v1/about"))["version"], "0")

    async def test_a_running_gateway_is_left_alone(self) -> None:
        """A second gateway on one data folder does not take the first one's socket away."""
        control = self.start(self.data_dir)
        self.assertRaises(AlreadyRunning, Control(self.data_dir).socket.start)
        self.assertEqual((await control.call("GET", "/v1/about"))["version"], "0")

    def test_a_busy_gateway_is_left_alone(self) -> None:
        """A gateway that is too busy to take one more connection is still a running one."""
        self.data_dir.mkdir()
        busy = self.bind()
        self.addCleanup(busy.close)
        busy.listen(0)
        with SocketPath(self.data_dir) as place:
            while True:
                waiting = socket.socket(socket.AF_UNIX)
                self.addCleanup(waiting.close)
                waiting.setblocking(False)
                try:
                    waiting.connect(str(place.path))
                except BlockingIOError:
                    break
        self.assertRaises(AlreadyRunning, Control(self.data_dir).socket.start)

    async def test_nobody_there(self) -> None:
        """Without a gateway, with and without its folder, the command says how to start one."""
        for make in (False, True):
            if make:
                self.data_dir.mkdir()
            error = await self.assertFailure(
                deferToThread(ControlClient(self.data_dir).call, "GET", "/v1/about"), NotRunning
            )
            self.assertIn(f"twistd --nodaemon aigateway --data-dir {self.data_dir}", str(error))

    async def test_stopped(self) -> None:
        """After a stop nobody answers and no file is left; stopping twice is harmless."""
        control = self.start(self.data_dir)
        await control.socket.stop()
        await control.socket.stop()
        await self.assertFailure(Deferred.fromCoroutine(control.call("GET", "/v1/about")), NotRunning)
        self.assertFalse((self.data_dir / SOCKET_NAME).exists())

    async def test_something_else_listens(self) -> None:
        """What answers but speaks another language is reported, not trusted."""
        self.data_dir.mkdir()
        stranger = self.bind()
        self.addCleanup(stranger.close)
        stranger.listen()

        def answer() -> None:
            peer, _ = stranger.accept()
            with peer:
                peer.recv(65_536)
                peer.sendall(b"220 mail ready\r\n")

        answering = deferToThread(answer)
        calling = deferToThread(ControlClient(self.data_dir).call, "GET", "/v1/about")
        error = await self.assertFailure(calling, NotRunning, CallRefused)
        self.assertIn("gave no answer", str(error))
        await answering

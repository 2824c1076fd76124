"""What a user gets from `pip install .` and `pip install -e .`, in a clean environment and without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
SHIPPED = ("setup.cfg", "pyproject.toml", "README.rst", "LICENSE")
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "dropin.cache")


class PackagingTests(SynchronousTestCase):
    """
    Everything happens in a temporary folder: a copy of the sources, and an environment that sees the libraries of the
    one that runs the tests, but not the copy of aigw in it.
    """

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aigw-packaging-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.source = self.folder / "source"
        self.source.mkdir()
        for name in SHIPPED:
            shutil.copy(ROOT / name, self.source)
        for name in ("aigw", "twisted"):
            shutil.copytree(ROOT / name, self.source / name, ignore=NOT_SOURCE)
        self.elsewhere = self.folder / "elsewhere"
        self.elsewhere.mkdir()
        self.environment = self.folder / "environment"
        venv.create(self.environment, symlinks=True)

    def run_in(self, folder: Path, *command: str | Path) -> str:
        """
        Run a command that must succeed.

        Returns:
            What it printed, both streams.
        """
        # Whatever leads Python to the tree under test would hide a package that cannot be found by itself.
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AIGW_"))}
        done = subprocess.run(
            [str(part) for part in command],
            cwd=folder,
            env=environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{command}:\n{done.stdout}")
        return done.stdout

    def pip(self, *arguments: str | Path) -> None:
        """Run pip, offline, with the build backend that is installed here."""
        offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
        self.run_in(self.folder, sys.executable, "-m", "pip", "--python", self.program("python"), *arguments, *offline)

    def program(self, name: str) -> Path:
        """A program of the clean environment."""
        return self.environment / "bin" / name

    def show_libraries(self) -> None:
        """Let the clean environment import what the running one has installed, .pth files excepted."""
        inside = self.run_in(
            self.elsewhere, self.program("python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"
        )
        here = sysconfig.get_path("purelib"), sysconfig.get_path("platlib")
        Path(inside.strip(), "libraries.pth").write_text("\n".join(dict.fromkeys(here)))

    def wheel(self) -> Path:
        """Build the wheel, as `python -m build --wheel` does."""
        build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", self.folder / "dist")
        self.run_in(self.source, sys.executable, *build)
        (wheel,) = (self.folder / "dist").iterdir()
        return wheel

    def assert_usable(self, home: Path) -> None:
        """Both programs work from a folder that knows nothing of the sources, and run what was installed."""
        where = self.run_in(self.elsewhere, self.program("python"), "-c", "import aigw; print(aigw.__file__)")
        self.assertEqual(Path(where.strip()).parent.parent.resolve(), home.resolve())
        # The script `twistd` stands where Twisted is installed; this is what it runs.
        twistd = (self.program("python"), "-c", "from twisted.scripts.twistd import run; run()")
        self.assertIn("aigateway", self.run_in(self.elsewhere, *twistd, "--help"))
        self.assertIn("usage", self.run_in(self.elsewhere, self.program("aigw"), "--help").lower())

    def test_wheel(self) -> None:
        """After `pip install .`, twistd lists aigateway from any folder and the command `aigw` works."""
        wheel = self.wheel()
        self.pip("install", wheel)
        self.show_libraries()
        (home,) = self.environment.glob("lib/python*/site-packages")
        self.assert_usable(home)

    def test_editable(self) -> None:
        """After `pip install -e .` as well, with the sources where they are."""
        self.show_libraries()
        self.pip("install", "--ignore-installed", "--editable", self.source)
        self.assert_usable(self.source)

    def test_wheel_holds_every_file(self) -> None:
        """Migrations, type marker and pages are in the wheel: whatever lies in a package is installed with it."""
        wheel = self.wheel()
        with zipfile.ZipFile(wheel) as archive:
            packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        # The build itself leaves nothing below these two folders.
        files = (path for name in ("aigw", "twisted") for path in (self.source / name).rglob("*") if path.is_file())
        self.assertEqual(packed, {path.relative_to(self.source).as_posix() for path in files})
        self.assertIn("aigw/py.typed", packed)
        self.assertTrue(any(name.endswith(".sql") for name in packed), "no migration in the wheel")

"""
How long a start takes with a database that runs already, and what of it is imports: `python -m benchmarks.start`.

A start is timed from exec to the line that says "is ready". Beside it stands what importing the libraries alone takes.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aigw.testing.elsewhere import elsewhere
from benchmarks.parent import ROOT
from benchmarks.table import grid

LIBRARIES = "import twisted.internet.reactor, autobahn, treq"
TWISTD = "from twisted.scripts.twistd import run; run()"
MOST_MODULES = 25

_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| +(\S+)")


def main() -> None:
    """Time both in turns, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="aigw-start-") as folder:
        environ = _environment(Path(folder))
        with _postgres(environ) as server:
            assert server.stdout is not None
            dsn = server.stdout.readline().strip()
            command = _start_command(Path(folder), dsn)
            # The first of each writes compiled modules, and makes folders and the token.
            took: dict[str, list[float]] = {"libraries": [], "start": []}
            for number in range(rounds + 1):
                found = {"libraries": _imported(environ), "start": _started(command, environ)}
                for name, seconds in found.items():
                    took[name] += [seconds] if number else []
            print(_table(took))
            print(_split(environ))
            assert server.stdin is not None
            server.stdin.close()


def _environment(folder: Path) -> dict[str, str]:
    """Ours, with compiled modules kept, as they are where the package was installed."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}


def _postgres(environ: dict[str, str]) -> subprocess.Popen[str]:
    elsewhere()
    command = [sys.executable, "-m", "aigw.testing.postgres_process"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**environ, **os.environ}, cwd=ROOT
    )


def _start_command(folder: Path, dsn: str) -> list[str]:
    ports = ("--listen", "tcp:0:interface=127.0.0.1", "--control", "tcp:0:interface=127.0.0.1")
    twistd = [sys.executable, "-c", TWISTD, "--nodaemon", "--pidfile=", "aigateway"]
    return [*twistd, "--data-dir", str(folder / "data"), "--database", dsn, *ports]


def _imported(environ: dict[str, str]) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", LIBRARIES], env=environ, cwd=ROOT, check=True)
    return time.monotonic() - began


def _started(command: Sequence[str], environ: dict[str, str]) -> float:
    """Seconds until a gateway is ready; it is ended again."""
    began, output = time.monotonic(), ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ, cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output += line
            if "is ready" in line:
                took = time.monotonic() - began
                process.terminate()
                process.stdout.read()
                return took
    raise RuntimeError(f"the gateway did not start:\n{output}")


def _table(took: dict[str, list[float]]) -> str:
    names = {"libraries": "Twisted, Autobahn and treq imported", "start": "ready, from exec"}
    rows = [
        [names[name], f"{statistics.median(times):.3f}", f"{min(times):.3f}", f"{max(times):.3f}"]
        for name, times in took.items()
    ]
    return grid(("start", "median s", "least", "most"), rows)


def _split(environ: dict[str, str]) -> str:
    """Where imports spend their time, by package and by module. Measuring takes time itself."""
    command = [sys.executable, "-X", "importtime", "-c", "import twisted.internet.reactor, aigw.tap"]
    told = subprocess.run(command, env=environ, cwd=ROOT, check=True, capture_output=True, text=True).stderr
    found = [(int(itself), module) for itself, _, module in _IMPORT.findall(told)]
    packages: Counter[str] = Counter()
    for itself, module in found:
        packages[module.partition(".")[0]] += itself
    by_package = [[name, f"{us / 1000:.1f}"] for name, us in packages.most_common(MOST_MODULES)]
    by_module = [[name, f"{us / 1000:.1f}"] for us, name in sorted(found, reverse=True)[:MOST_MODULES]]
    total = f"{len(found)} modules, {sum(us for us, _ in found) / 1000:.0f} ms"
    return "\n\n".join((total, grid(("package", "ms"), by_package), grid(("module itself", "ms"), by_module)))


if __name__ == "__main__":
    main()

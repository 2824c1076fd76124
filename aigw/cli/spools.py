"""`aigw spool`."""

from __future__ import annotations

import argparse
from pathlib import Path

from aigw.cli.finding import control
from aigw.cli.output import OK, as_json, print_json


def adopt(options: argparse.Namespace) -> int:
    """`aigw spool adopt`; copying a large spool may take minutes."""
    path = str(Path(options.folder).absolute())
    adopted = control(options).call("POST", "/v1/spools", {"path": path}, timeout_s=None)
    if as_json(options):
        print_json(adopted)
    else:
        spools = "1 spool is" if adopted["adopted"] == 1 else f"{adopted['adopted']} spools are"
        print(f"{spools} on the way into the database. The folder is left as it was.")
    return OK

"""`aigw check-config` and `aigw doctor`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from aigw.cli.finding import data_dir_of, read_settings
from aigw.cli.output import OK, REFUSED, as_json, print_json, print_table
from aigw.management.control_client import ControlClient, NotRunning


def check_config(options: argparse.Namespace) -> int:
    """`aigw check-config`; `main` tells the mistakes."""
    settings = read_settings(options)
    if as_json(options):
        print_json({"ok": True, "data_dir": settings.data_dir})
    else:
        print("The settings are well.")
    return OK


def doctor(options: argparse.Namespace) -> int:
    """`aigw doctor`; without a running gateway it looks at what lies on the disk."""
    data_dir = data_dir_of(options)
    try:
        checks = ControlClient(data_dir).call("GET", "/v1/doctor")["checks"]
    except NotRunning as error:
        checks = _checks_from_outside(data_dir, str(error).partition("\n")[0])
    if as_json(options):
        for check in checks:
            print_json(check)
    else:
        print_table([("ok" if check["ok"] else "FAIL", check["name"], check["text"]) for check in checks])
    return OK if all(check["ok"] for check in checks) else REFUSED


def _checks_from_outside(data_dir: Path, reason: str) -> list[dict[str, Any]]:
    import msgspec

    from aigw.management.checks import Check, check_data_dir, check_master_key

    found = [Check("gateway", False, reason), check_data_dir(data_dir)]
    if data_dir.is_dir():
        found.append(check_master_key(data_dir))
    return [msgspec.to_builtins(check) for check in found]

"""`aigw check-config` and `aigw doctor`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from aigw.cli.finding import data_dir_of, read_settings
from aigw.cli.output import OK, REFUSED, as_json, print_json, print_table
from aigw.errors import ConfigurationError
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
    """`aigw doctor`; without a running gateway it looks at whether one could run."""
    data_dir = data_dir_of(options)
    try:
        checks = ControlClient(data_dir).call("GET", "/v1/doctor")["checks"]
    except NotRunning as error:
        checks = _checks_from_outside(options, data_dir, str(error).partition("\n")[0])
    if as_json(options):
        for check in checks:
            print_json(check)
    else:
        print_table([("ok" if check["ok"] else "FAIL", check["name"], check["text"]) for check in checks])
    return OK if all(check["ok"] for check in checks) else REFUSED


def _checks_from_outside(options: argparse.Namespace, data_dir: Path, reason: str) -> list[dict[str, Any]]:
    import msgspec

    from aigw.management.checks import Check, check_data_dir
    from aigw.management.outside_checks import check_ports, outside_checks

    found = [Check("gateway", False, reason)]
    try:
        settings = read_settings(options)
        found += [Check("settings", True, "well"), check_ports((*settings.listen, *settings.control))]
    except ConfigurationError as error:
        found.append(Check("settings", False, "; ".join(error.problems)))
    found += [check_data_dir(data_dir), *outside_checks(data_dir, time.time_ns() // 1_000_000)]
    return [msgspec.to_builtins(check) for check in found]

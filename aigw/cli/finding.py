"""Which gateway is meant."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from aigw.management.control_client import ControlClient

if TYPE_CHECKING:
    from aigw.settings import Settings

# The same as the gateway's own, whose module a quick command does not import.
DEFAULT_DATA_DIR = "aigw-data"


def read_settings(options: argparse.Namespace) -> Settings:
    """
    The gateway's settings, as it would read them itself.

    Raises:
        ConfigurationError: With every mistake.
    """
    from aigw.settings import load

    # Other options of the command share names with keys of the file.
    named = {name: value for name, value in vars(options).items() if name in ("config", "data_dir")}
    return load(named, os.environ)


def data_dir_of(options: argparse.Namespace) -> Path:
    """The data folder; the settings are read only where no option and no variable names it."""
    named = getattr(options, "data_dir", None) or os.environ.get("AIGW_DATA_DIR")
    if not named and (getattr(options, "config", None) or os.environ.get("AIGW_CONFIG")):
        named = read_settings(options).data_dir
    return Path(named or DEFAULT_DATA_DIR).absolute()


def control(options: argparse.Namespace) -> ControlClient:
    """The way to the running gateway."""
    return ControlClient(data_dir_of(options))


def quoted(text: str) -> str:
    """Anything that a person types, as one segment of an address."""
    return quote(text, safe="")

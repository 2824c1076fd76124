"""`aigw completion`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from aigw.cli.output import OK


def completion(build_parser: Callable[[], argparse.ArgumentParser]) -> Callable[[argparse.Namespace], int]:
    """
    The verb for a parser.

    Args:
        build_parser: Of the whole command.
    """

    def complete(options: argparse.Namespace) -> int:
        import shtab

        print(shtab.complete(build_parser(), options.shell))
        return OK

    return complete

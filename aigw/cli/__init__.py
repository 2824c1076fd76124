"""
The `aigw` command: talks to the gateway that runs on a data folder, over its control socket.

Exit codes: 0 all went well; 1 the gateway, the settings or a check said no; 2 the command line makes no sense; 3 no
gateway is running there; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from aigw.cli.arguments import Verb, build_parser
from aigw.cli.output import INTERRUPTED, NOT_RUNNING, OK, REFUSED, complain
from aigw.errors import AigwError, ConfigurationError
from aigw.management.control_client import CallRefused, NotRunning


def main(arguments: Sequence[str] | None = None) -> int:
    """
    The command.

    Args:
        arguments: Without the program's name; those of the process when absent.
    Returns:
        Exit code; see the module.
    """
    options = build_parser().parse_args(arguments)
    verb: Verb = options.verb
    try:
        return verb(options)
    except NotRunning as error:
        return complain(options, "not-running", str(error), NOT_RUNNING)
    except CallRefused as error:
        return complain(options, error.code, str(error), REFUSED)
    except ConfigurationError as error:
        for problem in error.problems:
            complain(options, "settings", problem, REFUSED)
        return REFUSED
    except AigwError as error:
        return complain(options, type(error).__name__, str(error), REFUSED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, `head` for one, has had enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK

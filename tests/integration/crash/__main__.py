from __future__ import annotations

import argparse
import re
import sys
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.task import react

from aigw.testing.gateway import GatewayDied
from tests.integration.crash import __doc__ as story
from tests.integration.crash.storm import BrokenPromise, Plan, Storm

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
INTERRUPTED = 130


def size_bytes(text: str) -> int:
    """`64M` in bytes."""
    match = re.fullmatch(r"(\d+)([KMG]?)", text.upper())
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError("a size is a number with K, M or G behind it")
    return int(match[1]) * UNITS[match[2]]


def read_plan(arguments: list[str]) -> Plan:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="crash", description=story, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30, help="how often the gateway is killed")
    parser.add_argument("--db", choices=("up", "down", "flap"), default="flap", help="what the database does meanwhile")
    parser.add_argument("--disk", type=size_bytes, default=size_bytes("64M"), help="size of the spool's disk, as 64M")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is random")
    options = parser.parse_args(arguments)
    return Plan(options.kills, options.db, options.disk, options.seed)


async def weather(reactor: Any, plan: Plan) -> None:
    """One storm; raises SystemExit with the exit code."""
    storm = Storm(reactor, plan, say)
    try:
        running = Deferred.fromCoroutine(storm.run())
        verdict = await running.addTimeout(plan.limit_s, reactor)
    except (BrokenPromise, GatewayDied) as broken:
        say(f"broken: {broken}")
        raise SystemExit(1) from None
    except TimeoutError:
        say(f"broken: the storm was not over after {plan.limit_s:.0f} s")
        raise SystemExit(1) from None
    except CancelledError:
        raise SystemExit(INTERRUPTED) from None
    finally:
        await storm.close()
    say(str(verdict))
    raise SystemExit(0 if verdict.clean and not storm.tally.garbled else 1)


def say(line: str) -> None:
    """Print, at once also into a pipe."""
    print(line, flush=True)


def main(reactor: Any) -> Deferred[None]:
    """For `react`: Ctrl-C puts everything away, too."""
    running = Deferred.fromCoroutine(weather(reactor, read_plan(sys.argv[1:])))
    over: Deferred[None] = Deferred()

    def ended(result: object) -> object:
        over.callback(None)
        return result

    running.addBoth(ended)

    def interrupted() -> Deferred[None]:
        running.cancel()
        return over

    reactor.addSystemEventTrigger("before", "shutdown", interrupted)
    return running


if __name__ == "__main__":
    react(main)

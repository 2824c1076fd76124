"""`python -m benchmarks`: install the peers, run the scenarios, print the table; or compare two records."""

from __future__ import annotations

import argparse
import asyncio
import resource
from pathlib import Path

from benchmarks import idle, mixed, records, scenarios, table, workers
from benchmarks.peers import PEERS, Unavailable


def main() -> None:
    """Read the options and do it."""
    options = _parser().parse_args()
    # 10,000 sockets need as many descriptors, here and in the gateway, which inherits the limit.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.command == "compare":
        print(records.compare(records.find(options.old), records.find(options.new)))
    elif options.command == "install":
        asyncio.run(_install())
    elif options.command == "idle":
        print(asyncio.run(idle.run(options.sockets)))
    elif options.command == "workers":
        print(asyncio.run(workers.run(options.workers, options.rounds, options.seconds)))
    elif options.command == "mixed":
        print(asyncio.run(mixed.run(options.minutes, options.rate)))
    else:
        _run(options)


def _run(options: argparse.Namespace) -> None:
    found = asyncio.run(scenarios.run(options.scenarios, options.peers, options.rounds, options.seconds))
    print(table.show(found))
    told = {"rounds": options.rounds, "seconds": options.seconds}
    if options.json:
        records.write(options.json, found, told)
    if options.name:
        records.write(records.FOLDER / f"{options.name}.json", found, told)


async def _install() -> None:
    for peer in PEERS:
        try:
            await peer.install()
            print(f"{peer.name}: installed")
        except Unavailable as reason:
            print(f"{peer.name}: {reason}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="our fronts beside the peers, one table")
    run.add_argument("--scenarios", nargs="+", choices=scenarios.SCENARIOS, default=["whole", "stream", "single"])
    run.add_argument("--peers", nargs="+", default=[], help="such as tensorzero; all by default, none: `--peers none`")
    run.add_argument("--rounds", type=int, default=5, help="how often each is run, in turns")
    run.add_argument("--seconds", type=float, default=4.0, help="of each run")
    run.add_argument("--json", type=Path, help="file for the record")
    run.add_argument("--name", help="keep the record in benchmarks/records under this name")
    commands.add_parser("install", help="only install the peers")
    sockets = commands.add_parser("idle", help="memory of many idle WebSockets")
    sockets.add_argument("--sockets", type=int, default=10_000)
    load = commands.add_parser("mixed", help="growth, and how long the reactor is held, under mixed load with aborts")
    load.add_argument("--minutes", type=float, default=30.0)
    load.add_argument("--rate", type=float, default=100.0, help="requests a second of each of the four drivers")
    many = commands.add_parser("workers", help="CPU for a request of several processes against one")
    many.add_argument("--workers", type=int, default=2)
    many.add_argument("--rounds", type=int, default=5)
    many.add_argument("--seconds", type=float, default=4.0)
    compare = commands.add_parser("compare", help="what has changed between two records")
    compare.add_argument("old")
    compare.add_argument("new")
    return parser


if __name__ == "__main__":
    main()

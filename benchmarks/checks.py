"""Whether the controls did their work: a stage that was passed by would win a number it has not earned."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.gateway import Gateway

STAGE = "aigw_stage"
# What every request of the load passes, by the names under which `/metrics` counts them.
_LABEL = re.compile(r'stage="([^"]+)"')
_GATEWAY = re.compile(r'gateway="([^"]+)"')


async def check(gateway: Gateway, requests: int, name: str) -> list[dict[str, Any]]:
    """
    Compare the counters of all stages, and the rows in PostgreSQL, with the number of requests.

    Args:
        gateway: Has served them, and all rows are shipped.
        requests: That were answered.
        name: Of the gateway in the settings that has the controls.
    Returns:
        For each thing that counts: `what`, `counted`, `expected` and whether they are `equal`.
    """
    numbers = await gateway.metrics()
    told: list[tuple[str, float]] = [("rows in PostgreSQL", await gateway.rows(name, exactly=True))]
    told.append(("records in the spool", numbers["aigw_log_ended"]))
    stages: dict[str, float] = {}
    for key, value in numbers.items():
        if not key.startswith(STAGE + "{"):
            continue
        label, of = _LABEL.search(key), _GATEWAY.search(key)
        if label and (of is None or of[1] == name):
            stages[label[1]] = stages.get(label[1], 0) + value
    told += [(f"stage {stage}", count) for stage, count in sorted(stages.items())]
    if not stages:
        told.append(("stages: /metrics has no aigw_stage_total", 0))
    return [
        {"what": what, "counted": int(count), "expected": requests, "equal": count == requests} for what, count in told
    ]

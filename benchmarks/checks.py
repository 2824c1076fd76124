"""Whether the controls did their work: a stage that was passed by would win a number it has not earned."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.gateway import Gateway

STAGE = "aigw_stage"
_LABELS = re.compile(r'(\w+)="([^"]+)"')


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
    stages = stages_of(numbers, name)
    told += [(f"stage {stage}", count) for stage, count in stages.items()]
    if not stages:
        told.append(("stages: /metrics has no aigw_stage_total", 0))
    return [
        {"what": what, "counted": int(count), "expected": requests, "equal": count == requests} for what, count in told
    ]


def stages_of(numbers: dict[str, float], gateway_name: str = "") -> dict[str, float]:
    """
    How often each stage did its work.

    Args:
        numbers: See `Gateway.metrics`.
        gateway_name: Only for this one, where the counters tell gateways apart; empty: for all.
    """
    stages: dict[str, float] = {}
    for key, value in sorted(numbers.items()):
        if key.startswith(STAGE + "{"):
            labels = dict(_LABELS.findall(key))
            if not gateway_name or labels.get("gateway", gateway_name) == gateway_name:
                stages[labels["stage"]] = stages.get(labels["stage"], 0) + value
    return stages

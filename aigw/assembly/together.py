"""What several processes of one gateway may and may not do, for whoever saves a control and for operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aigw.assembly.ground import Ground
from aigw.controls.unshared import bounds_problems, gateway_problems, policies_problems
from aigw.management.checks import Check
from aigw.settings import Settings
from aigw.values.gateway import Gateway
from aigw.values.limits import Bounds
from aigw.workers.pages import Together


def uncounted(settings: Settings, bounds: Bounds) -> list[str]:
    """What is against bounds whose limits no two processes would count together."""
    return [] if settings.counts_together() else bounds_problems(bounds)


def uncounted_policies(settings: Settings, document: Mapping[str, Any]) -> list[str]:
    """The same, for a gateway's policies."""
    return [] if settings.counts_together() else policies_problems(document)


async def uncounted_gateway(settings: Settings, gateway: Gateway) -> list[str]:
    """The same, for a gateway."""
    return [] if settings.counts_together() else gateway_problems(gateway)


def all_uncounted(ground: Ground) -> list[str]:
    """The same, for all that there is now, wherever it was made."""
    if ground.settings.counts_together():
        return []
    found = [(f"gateway {one.account}/{one.id}", gateway_problems(one)) for one in ground.gateways.all()]
    found += [(f"team {one.account}/{one.name}", bounds_problems(one.bounds)) for one in ground.teams.all()]
    found += [(f"token {one.id}", bounds_problems(one.bounds)) for one in ground.tokens.all() if one.revoked_ms is None]
    found += [(f"gateway {one.account}/{one.name}", policies_problems(one.document)) for one in ground.policies.all()]
    return [f"{what}: {problem}" for what, problems in found for problem in problems]


def check_workers(together: Together) -> Check:
    """Whether all workers serve, for `aigw doctor`."""
    supervisor = together.supervisor
    problems = [*together.unshared(), *supervisor.problems()]
    serving = supervisor.serving()
    text = (
        f"{len(serving)} serve, processes {', '.join(str(each.pid) for each in serving)}" if serving else "none serves"
    )
    if supervisor.restarts:
        text += f"; {supervisor.restarts} were started in place of others"
    return Check("workers", not problems, "; ".join((text, *problems)))

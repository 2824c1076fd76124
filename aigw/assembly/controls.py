"""What every request passes before a provider is asked, and what that stands on."""

from __future__ import annotations

import os
import time
from functools import partial

import attrs
from twisted.internet.defer import Deferred

from aigw.assembly.ground import Ground
from aigw.assembly.steps import utc_ms
from aigw.controls.alerts import Alerts
from aigw.controls.embeddings import Embeddings
from aigw.controls.policies import Policies
from aigw.controls.rebuild import Rebuild
from aigw.controls.semantic_cache import SemanticCaches
from aigw.controls.stage_counts import StageCounts
from aigw.dispatch.admission import Controls, make_controls
from aigw.dispatch.gateways import Gateways
from aigw.errors import ConfigurationError, StorageUnavailable
from aigw.logs.ledger import load_ledger
from aigw.operations.control_metrics import ControlMetrics
from aigw.storage.semantic_answers import SemanticAnswers
from aigw.upstream.outbound import Outbound
from aigw.upstream.upstream import Upstream


@attrs.frozen
class Controlled:
    """
    Attributes:
        upstream: Reaches providers.
        outbound: Reaches everybody else.
        controls: See there.
        metrics: What the controls have done.
    """

    upstream: Upstream
    outbound: Outbound
    controls: Controls
    metrics: ControlMetrics


def open_controls(ground: Ground) -> Controlled:
    """Make the controls, and the way out that some of them need."""
    reactor, settings, steps, state = ground.reactor, ground.settings, ground.steps, ground.state
    upstream = Upstream(reactor, ground.wheel, settings.upstream, time.time, settings.realtime)
    steps.add(upstream.close)
    outbound = Outbound(upstream)
    alerts = Alerts(state.counters, outbound, reactor)
    steps.add_plain(alerts.stop)
    counts = StageCounts()
    controls = make_controls(
        *(state.counters, state.cache, utc_ms, ground.gateways.version, settings.estimates),
        *(Policies(ground.policies, counts), counts, partial(reactor.callLater, 0), alerts),
        lambda keys: SemanticCaches(
            *(SemanticAnswers(ground.database), Embeddings(outbound, os.environ), keys),
            *(ground.wheel.schedule, time.monotonic),
        ),
    )
    _follow_semantic_caches(ground.gateways, controls.semantic)
    _rebuild_budgets(ground)
    crowded = list if state.to_rebuild is None else state.to_rebuild.crowded
    metrics = ControlMetrics(controls, state.counters, state.cache, alerts, crowded)
    return Controlled(upstream, outbound, controls, metrics)


def _follow_semantic_caches(gateways: Gateways, semantic: SemanticCaches | None) -> None:
    """What a semantic cache needs is looked for when its gateway is saved, and now for those that are there."""
    if semantic is None:
        return
    gateways.also_check(semantic.check)
    for gateway in gateways.all():
        preparing = Deferred.fromCoroutine(semantic.prepare(gateway))
        # It is told in the log and in `/ready`, and tried again later.
        preparing.addErrback(lambda failure: failure.trap(ConfigurationError, StorageUnavailable))


def _rebuild_budgets(ground: Ground) -> None:
    """Where counters forget what was spent before this process began, read it back from the ledger."""
    to_rebuild, logs = ground.state.to_rebuild, ground.logs
    if to_rebuild is not None and ground.settings.processes() > 1:
        # No limit is counted in the memory of one of several processes, so there is nothing to remember.
        to_rebuild.rebuilt()
    elif to_rebuild is not None:
        load = partial(load_ledger, ground.database, logs.spool_id)
        rebuild = Rebuild(to_rebuild, logs.older_spools_shipped, load, ground.reactor)
        rebuild.start()
        ground.steps.add_plain(rebuild.stop)

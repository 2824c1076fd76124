"""The real controls, over stores in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from aigw.controls.estimate import EstimateSettings
from aigw.controls.policies import Policies
from aigw.controls.policy_rulings import read_rulings
from aigw.controls.stage_counts import StageCounts
from aigw.dispatch.admission import Controls, make_controls
from aigw.interfaces import ICacheStore, ICounters
from aigw.state.memory_cache import MemoryCache
from aigw.state.memory_counters import MemoryCounters
from aigw.testing.documents import MemoryDocuments


def memory_controls(
    clock: Any,
    utc_ms: Callable[[], int],
    counters: ICounters | None = None,
    store: ICacheStore | None = None,
    policies: MemoryDocuments[Any] | None = None,
) -> Controls:
    """
    What a gateway has whose settings name no other store.

    Args:
        clock: For the counters.
        utc_ms: Milliseconds since the epoch.
        counters, store: Others, to be shared or to fail.
        policies: The owner's; by default there are none.
    """
    counts = StageCounts()
    return make_controls(
        MemoryCounters(clock, utc_ms) if counters is None else counters,
        MemoryCache() if store is None else store,
        utc_ms,
        lambda gateway: 1,
        EstimateSettings(),
        Policies(MemoryDocuments(read_rulings, utc_ms) if policies is None else policies, counts),
        counts,
        partial(clock.callLater, 0),
    )

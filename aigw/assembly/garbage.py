"""The collector of cycles, told what it need not look at: it runs within a turn, and every request waits meanwhile."""

from __future__ import annotations

import gc
from typing import Any

from aigw.assembly.steps import Steps

# By then what is loaded in threads, such as the price list, is there.
SETTLED_S = 3.0

# New objects until the youngest are looked through. Requests make few cycles, so that a look finds next to nothing.
YOUNG = 20_000


def spare_what_stays(reactor: Any, steps: Steps) -> None:
    """
    Take everything that a booted process consists of out of the collector's sight, a little later.

    A full collection walks all objects that there are: half a million after a start, which takes a tenth of a second.
    """
    gc.set_threshold(YOUNG, 20, 20)
    settled = reactor.callLater(SETTLED_S, _freeze)
    steps.add_plain(lambda: settled.cancel() if settled.active() else None)


def _freeze() -> None:
    gc.collect()
    gc.freeze()

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.token_file import TokenEntry
from aigw.providers.settings import ProviderSettings
from aigw.settings import Settings
from aigw.values.gateway import Gateway, SpendLimits, SpendRule
from aigw.values.token import Token
from aigw.workers.messages import (
    Drain,
    Frames,
    SharedSocket,
    Tell,
    TokensChanged,
    ToWorker,
    Welcome,
    framed,
    to_worker,
)

ENTRY = TokenEntry(b"d" * 32, Token("tok_1", "first", frozenset({"run"}), "local", None, 1, None))
SETTINGS = Settings(
    workers=2,
    providers={"custom-stub": ProviderSettings(base_url="http://127.0.0.1:1/v1")},
    gateway=(Gateway(id="bot", spend_limits=SpendLimits(rules=(SpendRule(1.5, "cost", 60),))),),
)
MESSAGES: tuple[ToWorker, ...] = (
    Welcome(SETTINGS, (ENTRY,), (SharedSocket("tcp:8787", 2, 4),), "host=/tmp"),
    TokensChanged((ENTRY,)),
    Tell(7),
    Drain(),
)


class FramesTests(SynchronousTestCase):
    @given(st.lists(st.integers(0, 5_000)))
    def test_pieces(self, cuts: list[int]) -> None:
        """However a pipe cuts them, a worker gets the settings and messages that its parent sent."""
        data = b"".join(framed(message) for message in MESSAGES)
        frames, seen = Frames(), []
        edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        for start, end in pairwise(edges):
            seen += [to_worker.decode(payload) for payload in frames.feed(data[start:end])]
        self.assertEqual(tuple(seen), MESSAGES)

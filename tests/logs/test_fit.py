"""Tests of aigw.logs.fit."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from aigw.logs.fit import CHARGES_BYTES, END_ROOM_BYTES, INT64_MAX, clip, end_room_bytes, representable, squeezed
from aigw.logs.frame import Kind, append_frame
from aigw.values.counting import Charged
from aigw.values.record import Attempt, Begin, End, Origin, Session, Target
from aigw.values.usage import Usage

LONG = "\U0001f600" * 5000


def widest(origin: Origin) -> End:
    """An end whose every field is as wide as its type can be."""
    top = INT64_MAX
    return End(
        origin,
        Target(LONG, LONG, LONG, LONG, top, LONG),
        *(top, top, top, True, True, top, LONG, top, LONG),
        Usage(top, top, top, top, True, top, top, top, top),
        *(top, top, LONG),
        [Attempt(top, LONG, top, top, top, top, top, LONG, top)] * 50,
        *(b"q" * 9999, b"a" * 9999, True, True, True, True),
        Session(top, top, top, top, top, top, LONG),
        tuple(Charged(f"spend:{number}", top, top, top) for number in range(200)),
        {LONG: [LONG] * 50},
    )


class FitTests(SynchronousTestCase):
    """The promise that an end always finds the room that was kept for it."""

    def test_the_widest_end_fits_its_room(self) -> None:
        """An exchange that could begin can always end, however odd its end is."""
        origin = Origin(b"i" * 16, "local", "default", "websocket", user_agent=LONG, metadata=b"{}" * 1000)
        begin = Begin(origin, Target("openai"))
        frame, end = bytearray(), bytearray()
        begin_bytes = append_frame(frame, 1, Kind.BEGIN, origin.id, begin)
        end_bytes = append_frame(end, 1, Kind.END, origin.id, squeezed(widest(origin), begin))
        self.assertLessEqual(end_bytes, end_room_bytes(begin_bytes))
        # And the room is not far more than that, for it is kept for each open exchange.
        self.assertLess(END_ROOM_BYTES, 3000)

    def test_a_squeezed_end_says_that_its_bodies_are_missing(self) -> None:
        """Nobody takes a body that was dropped for one that was empty."""
        origin = Origin(b"i" * 16, "local", "default", "websocket")
        begin = Begin(origin, Target("openai"))
        end = squeezed(End(origin, begin.target, request_body=b"q", status=200), begin)
        self.assertEqual((end.request_body, end.request_cut, end.response_cut, end.status), (None, True, False, 200))

    def test_a_squeezed_end_keeps_its_charges(self) -> None:
        """A full disk is no way around a budget: what the beginning took is settled, and later steps as far as fits."""
        origin = Origin(b"i" * 16, "local", "default", "websocket")
        taken = tuple(Charged(f"spend:{number}:{'k' * 40}", 1, 9, 1) for number in range(20))
        begin = Begin(origin, Target("openai"), taken)
        settled = tuple(msgspec.structs.replace(each, amount=10**9) for each in taken)
        self.assertEqual(squeezed(End(origin, begin.target, charged=settled), begin).charged, settled)
        later = tuple(Charged(f"later:{number}", 1, 9, 1) for number in range(200))
        kept = squeezed(End(origin, begin.target, charged=later + settled), begin).charged
        self.assertEqual(kept[:20], settled)
        self.assertLessEqual(len(msgspec.msgpack.encode(kept)), len(msgspec.msgpack.encode(taken)) + CHARGES_BYTES)

    def test_clip_cuts_between_characters(self) -> None:
        """A clipped text is still a text."""
        self.assertEqual(clip("aé", 2), "a")
        self.assertEqual(clip("aé", 3), "aé")

    def test_what_msgpack_cannot_hold_is_made_to_fit(self) -> None:
        """A lone surrogate or a number beyond 64 bits costs a character or the number's top, not the record."""
        origin = Origin(b"i" * 16, "local", "default", "websocket", event_id="a\ud800")
        end = End(origin, Target("openai"), cost_nanousd=2**70, usage=Usage(1, 2**65), attempts=[Attempt(0, "\udfff")])
        end = msgspec.structs.replace(
            end, charged=(Charged("\ud800", 1, 2, 2**70),), controls={"\ud800": ["\ud800"], "n": 2**70}
        )
        fixed = msgspec.msgpack.decode(msgspec.msgpack.encode(representable(end)), type=End)
        self.assertEqual(fixed.origin.event_id, "a?")
        self.assertEqual((fixed.cost_nanousd, fixed.attempts[0].provider), (INT64_MAX, "?"))
        self.assertEqual(fixed.charged, (Charged("?", 1, 2, INT64_MAX),))
        self.assertEqual(fixed.controls, {"?": ["?"], "n": INT64_MAX})
        assert fixed.usage is not None
        self.assertEqual(fixed.usage.tokens_out, INT64_MAX)

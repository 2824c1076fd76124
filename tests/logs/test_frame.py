"""Tests of aigw.logs.frame and aigw.logs.reader: what damage does to a file."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aigw.logs.frame import (
    FRAME_BYTES,
    HEADER_BYTES,
    NO_ID,
    Kind,
    append_frame,
    file_header,
    read_file_header,
    record_decoder,
)
from aigw.logs.reader import WINDOW_BYTES, Frame, Gap, SegmentReader
from tests.logs.records import Records

NONCE = 0xDEADBEEF


def file_of(payloads: list[bytes], nonce: int = NONCE) -> tuple[bytes, list[int]]:
    """A file's bytes behind its header, and where each frame ends."""
    data, ends = bytearray(), []
    for payload in payloads:
        append_frame(data, nonce, Kind.END, NO_ID, payload)
        ends.append(len(data))
    return bytes(data), ends


def found_in(data: bytes, nonce: int = NONCE) -> list[Frame | Gap]:
    """What a reader gives of these bytes."""
    reader = SegmentReader(lambda offset, size: data[offset : offset + size], nonce, 0, len(data))
    return list(iter(reader.next, None))


class FrameTests(SynchronousTestCase):
    """Whole files."""

    def test_a_record_comes_back_as_it_was(self) -> None:
        """What was logged is what is read, bodies and all."""
        end = Records().end(request_body=b"\x00\xff" * 1000, response_body=b"", error="né")
        data = bytearray()
        append_frame(data, NONCE, Kind.END, end.origin.id, end)
        (frame,) = found_in(bytes(data))
        assert isinstance(frame, Frame)
        self.assertEqual((frame.kind, frame.log_id, frame.end), (Kind.END, end.origin.id, len(data)))
        self.assertEqual(record_decoder.decode(frame.payload), end)

    def test_a_record_that_cannot_be_encoded_leaves_the_buffer_alone(self) -> None:
        """One odd record does not spoil those that are written together with it."""
        data = bytearray(b"before")
        with self.assertRaises(UnicodeEncodeError):
            append_frame(data, NONCE, Kind.END, NO_ID, Records().end(error="\ud800"))
        self.assertEqual(data, b"before")

    def test_header(self) -> None:
        """A file says whose it is; a damaged header says nothing."""
        header = file_header(b"s" * 16, 7, NONCE)
        self.assertEqual(len(header), HEADER_BYTES)
        self.assertEqual(read_file_header(header), (b"s" * 16, 7, NONCE))
        self.assertIsNone(read_file_header(header[:-1]))
        self.assertIsNone(read_file_header(bytes(HEADER_BYTES)))
        self.assertIsNone(read_file_header(header.replace(b"s", b"t", 1)))


class DamageTests(SynchronousTestCase):
    """Files that were cut, torn, or hit in the middle."""

    @given(st.lists(st.binary(max_size=80), max_size=6), st.data())
    def test_any_cut_keeps_exactly_the_records_before_it(self, payloads: list[bytes], data: st.DataObject) -> None:
        """Wherever a process died within a write, whole records are found and no half one is."""
        whole, ends = file_of(payloads)
        cut = data.draw(st.integers(0, len(whole)))
        preallocated = data.draw(st.sampled_from([0, 1, FRAME_BYTES, 5000]))
        found = found_in(whole[:cut] + bytes(preallocated))
        # Zeros at the end of a record are no less there for having been preallocated.
        there = cut
        while there < min(len(whole), cut + preallocated) and whole[there] == 0:
            there += 1
        self.assertEqual([frame.end for frame in found], [end for end in ends if end <= there])

    @given(st.lists(st.binary(max_size=80), min_size=3, max_size=6), st.data())
    def test_damage_in_the_middle_loses_only_what_it_hit(self, payloads: list[bytes], data: st.DataObject) -> None:
        """Records behind a bad sector are still found, and the bad bytes are told."""
        whole, ends = file_of(payloads)
        hit = data.draw(st.integers(0, len(payloads) - 2))
        start = ends[hit - 1] if hit else 0
        at = data.draw(st.integers(start, ends[hit] - 1))
        damaged = bytearray(whole)
        damaged[at] ^= data.draw(st.integers(1, 255))
        found = found_in(bytes(damaged))
        self.assertEqual([f.end for f in found if isinstance(f, Frame)], [e for i, e in enumerate(ends) if i != hit])
        self.assertEqual([f for f in found if isinstance(f, Gap)], [Gap(start, ends[hit])])

    def test_a_prompt_cannot_forge_a_record(self) -> None:
        """A frame that a client sent as its prompt is not taken for a log, even where the real one is damaged."""
        forged, _ = file_of([b"forged"], nonce=1)
        whole, ends = file_of([b"x" * 50 + forged + b"x" * 50, b"behind"])
        damaged = bytearray(whole)
        damaged[0] ^= 1
        self.assertEqual(found_in(bytes(damaged))[0], Gap(0, ends[0]))

    def test_records_longer_than_the_window(self) -> None:
        """A record of megabytes is read whole, and found again behind damage of megabytes."""
        big = os.urandom(WINDOW_BYTES * 3)
        whole, ends = file_of([b"a", big, b"b", big])
        self.assertEqual([frame.end for frame in found_in(whole)], ends)
        damaged = bytearray(whole)
        damaged[ends[1] - 1] ^= 1
        self.assertEqual([f.end for f in found_in(bytes(damaged))], [ends[0], ends[1], ends[2], ends[3]])
        self.assertIsInstance(found_in(bytes(damaged))[1], Gap)

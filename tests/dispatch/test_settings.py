"""What a request's own headers set."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from aigw.dispatch.settings import Collect, DispatchSettings, check_settings, collect, read_metadata, step_clocks
from aigw.errors import InvalidField
from aigw.values.gateway import Gateway
from aigw.values.step import Clocks


class CollectTests(SynchronousTestCase):
    """What the log keeps."""

    def test_table(self) -> None:
        """The gateway's switch and the request's two headers give what Cloudflare's table says."""
        nothing, row, full = Collect(False, False), Collect(True, False), Collect(True, True)
        for collect_logs, log, payload, kept in (
            (True, None, None, full),
            (True, None, b"true", full),
            (True, None, b"false", row),
            (True, b"false", None, nothing),
            (True, b"false", b"true", nothing),
            (True, b"false", b"false", nothing),
            (False, None, None, nothing),
            (False, None, b"true", nothing),
            (False, None, b"false", nothing),
            (False, b"false", b"true", nothing),
            (False, b"true", None, full),
            (False, b"true", b"false", row),
            (True, b"true", b"false", row),
            # Values that cannot be read are passed over.
            (True, b"yes", b"0", full),
            (False, b"", None, nothing),
            (True, b" FALSE ", None, nothing),
        ):
            headers = {b"cf-aig-collect-log": log, b"cf-aig-collect-log-payload": payload}
            settings = {name: value for name, value in headers.items() if value is not None}
            gateway = Gateway(id="default", collect_logs=collect_logs)
            self.assertEqual(collect(gateway, settings), kept, (collect_logs, log, payload))


class MetadataTests(SynchronousTestCase):
    """What a caller attaches to its row."""

    def read(self, value: object) -> object:
        """The metadata out of a header that holds this, None for none."""
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        kept = read_metadata({b"cf-aig-metadata": text})
        self.assertEqual(json.loads(kept.text or b"{}"), kept.values)
        return kept.values or None

    def test_flat_entries(self) -> None:
        """Strings, numbers and booleans are kept as they are."""
        entries = {"user": "ann", "age": 41, "ratio": 0.5, "paid": True, "\u00e9": "\U0001f600"}
        self.assertEqual(self.read(entries), entries)

    def test_first_five(self) -> None:
        """Of more than five entries the first five are kept."""
        self.assertEqual(self.read({str(n): n for n in range(9)}), {str(n): n for n in range(5)})

    def test_reserved_names(self) -> None:
        """Names that begin with `cf.` are removed, and take no one's place."""
        entries = {"cf.user_id": "forged", **{str(n): n for n in range(5)}}
        self.assertEqual(self.read(entries), {str(n): n for n in range(5)})
        self.assertIsNone(self.read({"cf.user_id": "forged"}))

    def test_what_is_no_flat_object(self) -> None:
        """A nested or null value, or anything but an object, drops all of it and refuses nothing."""
        for value in (
            {"a": 1, "b": {}},
            {"a": []},
            {"a": None},
            [],
            "text",
            5,
            b"nonsense",
            b"",
            b"\xff",
            b'{"a":"\xff"}',
            b'{"a":' + b"1" * 5000 + b"}",
            b"[" * 100_000,
            b'{"a":' * 100_000,
        ):
            self.assertIsNone(self.read(value))
        self.assertEqual(read_metadata({}).text, b"")

    def test_long_texts_are_cut(self) -> None:
        """A megabyte of metadata leaves a narrow row."""
        kept = read_metadata({b"cf-aig-metadata": json.dumps({"k" * 10_000: "v" * 10_000}).encode()})
        self.assertEqual((json.loads(kept.text), kept.values), ({"k" * 256: "v" * 256},) * 2)


class ClocksTests(SynchronousTestCase):
    """How long a caller is willing to wait."""

    def first_byte_s(self, value: bytes, owners_s: float = 300.0) -> float:
        """The clock that results from the header."""
        return step_clocks(Clocks(first_byte_s=owners_s), {b"cf-aig-request-timeout": value}).first_byte_s

    def test_request_timeout(self) -> None:
        """The header, in milliseconds, bounds the time to the first part of the answer."""
        self.assertEqual(self.first_byte_s(b"1500"), 1.5)
        self.assertEqual(self.first_byte_s(b"1500", owners_s=0), 1.5)

    def test_never_longer_than_the_owner_allows(self) -> None:
        """A caller may shorten the owner's clock, not lengthen it."""
        self.assertEqual(self.first_byte_s(b"999999999"), 300.0)

    def test_nonsense_is_passed_over(self) -> None:
        """A value that is no number of milliseconds changes nothing."""
        for value in (b"", b"0", b"-5", b"1.5", b"soon", b"9" * 5000, "\u0665".encode()):
            self.assertEqual(self.first_byte_s(value), 300.0)

    def test_owners_clocks(self) -> None:
        """The four settings are the four clocks."""
        settings = DispatchSettings(connect_s=1, first_byte_s=2, idle_s=3, total_s=4)
        self.assertEqual(settings.clocks(), Clocks(1, 2, 3, 4))


class CheckTests(SynchronousTestCase):
    """Headers that say nothing."""

    def test_malformed(self) -> None:
        """A value with a typing error is refused with the header's name, not passed over in silence."""
        for name, value in (
            ("max-attempts", "abc"),
            ("retry-delay", "1s"),
            ("request-timeout", "1.5"),
            ("backoff", "cubic"),
            ("collect-log", "maybe"),
            ("collect-log-payload", "1"),
            ("skip-cache", "yes"),
            ("cache-ttl", ""),
            ("metadata", "{bad"),
            ("metadata", "[1]"),
            ("custom-cost", "0.1"),
        ):
            header = f"cf-aig-{name}"
            error = self.assertRaises(InvalidField, check_settings, {header.encode(): value.encode()})
            self.assertIn(header, error.message)

    def test_sound(self) -> None:
        """Numbers out of range are brought into it, and names that nobody knows are nobody's business."""
        check_settings(
            {
                b"cf-aig-max-attempts": b"-1",
                b"cf-aig-retry-delay": b"999999",
                b"cf-aig-backoff": b"Linear",
                b"cf-aig-collect-log": b"TRUE",
                b"cf-aig-metadata": b'{"plan":"paid","nested":{"a":1}}',
                b"cf-aig-of-tomorrow": b"?",
            }
        )

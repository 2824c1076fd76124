"""Strings out of undecoded JSON."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.peek import string_at, string_bytes


class StringTests(SynchronousTestCase):
    """Strings out of undecoded events."""

    def test_strings_end_where_json_ends_them(self) -> None:
        """Escaped quotes and backslashes do not end a string early or late."""
        for written in ("plain", 'a "quoted" b', "back\\slash\\", '\\"', "", "line\nend"):
            data = (
                b'{"a":1,"k":"'
                + written.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").encode()
                + b'","z":2}'
            )
            self.assertEqual(string_bytes(data, b'"k":'), len(written), written)

    def test_what_is_no_string(self) -> None:
        """Other values, absent keys and cut strings give nothing."""
        for data in (b'{"k":null}', b'{"k":7}', b"{}", b'{"k":"cut', b'{"k":', b'{"x":"\\"k\\":\\"y\\""}'):
            self.assertEqual(string_at(data, b'"k":'), b"", data)

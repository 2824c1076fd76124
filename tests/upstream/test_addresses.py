"""Which addresses belong to the public internet."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.upstream.addresses import is_public

PUBLIC = ("8.8.8.8", "104.18.6.192", "2606:4700::6812:7c0", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1")
OTHERS = {
    "this host": ("0.0.0.0", "127.0.0.1", "127.255.255.254", "::", "::1"),
    "private": ("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1", "fec0::1"),
    "shared by an access network": ("100.64.0.1",),
    "link-local, as cloud metadata": ("169.254.169.254", "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0"),
    "for many": ("224.0.0.1", "239.255.255.250", "255.255.255.255", "ff02::1"),
    "for documents and measurements": ("192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"),
    "reserved": ("240.0.0.1", "192.0.0.1", "4000::1", "100::1"),
    "in the clothes of IPv6": (
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ),
    "no address": ("", "localhost", "127.1", "0x7f000001", "8.8.8.8.", "1.2.3.4/32", "[::1]"),
}


class AddressTests(SynchronousTestCase):
    def test_public(self) -> None:
        """Addresses of the public internet are reached, also those that IPv6 carries."""
        for address in PUBLIC:
            self.assertTrue(is_public(address), address)

    def test_others(self) -> None:
        """Whatever else an address may lead to, it is not reached."""
        for kind, addresses in OTHERS.items():
            for address in addresses:
                self.assertFalse(is_public(address), f"{address}: {kind}")

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from aigw.providers.provider import Provider
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import MODULES, ProviderTable
from aigw.testing.data_port import TOKEN, MemoryDataPort
from aigw.values.gateway import Gateway
from tests.wire.http_client import request_bytes

PAGE = Path(__file__).parent.parent / "docs" / "providers.rst"
KEY = "fake-key"
ACCOUNT = "0" * 32


@attrs.frozen
class Example:
    """
    One command of the page.

    Attributes:
        slug, path: Of the address, the path with its query string.
        headers: As curl would send them, the variables filled in.
        body: Of the request; empty for one that curl reads or makes.
    """

    slug: str
    path: str
    headers: dict[str, str]
    body: str

    @classmethod
    def read(cls, command: str) -> Example:
        """Take a command apart as a shell does; every variable but ours holds a key."""
        text = command.replace("\\\n", " ").replace("$AIGW_TOKEN", TOKEN)
        text = re.sub(r"\$\(.*?\)|\$[A-Z_]+(?!/)", KEY, text.replace("$AIGW/", "AIGW/"))
        words = iter(shlex.split(text))
        options: dict[str, list[str]] = {"curl": [next(words) and next(words)]}
        for word in words:
            options.setdefault(word, []).append(next(words))
        gateway, slug, path = options["curl"][0].split("/", 2)
        assert gateway == "AIGW", gateway
        headers = dict(line.split(": ", 1) for line in options.get("-H", ()))
        return cls(slug, path, headers, options.get("-d", [""])[0])


class ProvidersPageTests(SynchronousTestCase):
    """The page `docs/providers.rst`."""

    def setUp(self) -> None:
        self.page = PAGE.read_text()
        blocks = re.findall(r"\.\. code-block:: sh\n\n((?:   .*\n|\n)+)", self.page)
        self.examples = [Example.read(block) for block in blocks if block.lstrip().startswith("curl ")]
        own = ProviderSettings(account=ACCOUNT)
        self.port = MemoryDataPort(gateways=(Gateway(id="default"),), providers={"workers-ai": own})

    def providers(self) -> Iterator[Provider]:
        """Every provider of the table, once."""
        table = ProviderTable()
        yield from (table.lookup(slug) for slug in MODULES if table.lookup(slug).slug == slug)

    def test_every_provider_has_an_example(self) -> None:
        """Whoever adds a provider to the table adds an example that can be copied, and a line."""
        slugs = sorted(provider.slug for provider in self.providers())
        self.assertEqual(sorted(example.slug for example in self.examples), slugs)
        lines = re.findall(r"^``([a-z-]+)`` +(.+?)  +(.+?)  +(.+)$", self.page, re.MULTILINE)
        self.assertEqual([line[0] for line in lines], slugs)

    def test_every_other_name_is_told(self) -> None:
        """A slug that is another provider's alias is on the page."""
        for slug in set(MODULES) - {provider.slug for provider in self.providers()}:
            self.assertIn(f"``{slug}``", self.page)

    def test_addresses(self) -> None:
        """The address and the key's header that the table shows are those of the provider."""
        lines = re.findall(r"^``([a-z-]+)`` +(.+?)  +(.+?)  +(.+)$", self.page, re.MULTILINE)
        table = ProviderTable()
        for slug, address, key, _ in lines:
            provider = table.lookup(slug)
            shown = address.strip("`").removesuffix("...")
            if slug != "sandbox":
                self.assertTrue(provider.base_url.startswith(shown), slug)
                self.assertGreater(len(shown), len("https://"), slug)
            if key.startswith("``"):
                self.assertIn(key.strip("`").encode(), provider.credentials, slug)

    def test_examples_are_accepted(self) -> None:
        """Every example, pasted, reaches its provider with the caller's key, and without the gateway's token."""
        for example in self.examples:
            calls = len(self.port.upstream.calls)
            headers = [(name, value) for name, value in example.headers.items() if name != "content-type"]
            kind = example.headers.get("content-type", "multipart/form-data; boundary=x")
            data = request_bytes(
                f"/v1/local/default/{example.slug}/{example.path}", example.body.encode(), headers, content_type=kind
            )
            _, client = self.port.connect_raw(data)
            self.assertEqual(len(self.port.upstream.calls), calls + 1, (example.slug, client.received))
            self.assert_sent_well(example, self.port.upstream.last.request)

    def assert_sent_well(self, example: Example, request: Any) -> None:
        """The request is for the provider's own host, and has the caller's key and nothing of the gateway."""
        provider = ProviderTable().lookup(example.slug)
        host = request.url.decode().split("/")[2]
        self.assertTrue(host.endswith(provider.base_url.split("/")[2].rpartition("}")[2]), host)
        self.assertFalse([value for _, value in request.headers if b"aigw_" in value])
        if example.slug != "sandbox":
            sent = {name: value.decode() for name, value in request.headers}
            self.assertTrue(any(KEY in sent.get(name, "") for name in provider.credentials), example.slug)
        if example.headers.get("content-type") == "application/json":
            json.loads(example.body)

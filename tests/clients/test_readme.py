from __future__ import annotations

import re
import sys
from pathlib import Path

from twisted.internet.utils import getProcessOutputAndValue

from tests.clients import FOLDER, ClientTestCase, missing_for_node

README = FOLDER.parent.parent / "README.rst"


class ReadmeClientTests(ClientTestCase):
    """The two clients of the README, copied and pasted as a reader would."""

    def pasted(self, language: str) -> Path:
        """A file with the only block of a language, the reader's own token and address filled in."""
        (block,) = re.findall(rf"\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", README.read_text())
        code = re.sub("^    ", "", block, flags=re.MULTILINE)
        for shown, own in (
            ("ws://127.0.0.1:8787/v1/local/default", self.gateway.url),
            ("aigw_YOUR_TOKEN", self.gateway.token),
        ):
            self.assertEqual(code.count(shown), 1)
            code = code.replace(shown, own)
        file = Path(self.mktemp())
        file.write_text(code)
        return file.absolute()

    async def test_python(self) -> None:
        """The Python client prints the answer piece by piece, and ends."""
        output, errors, code = await getProcessOutputAndValue(sys.executable, [str(self.pasted("python"))])
        self.assertEqual((code, errors), (0, b""))
        first, *pieces, last = output.decode().splitlines()
        self.assertEqual((first, last), ("universal.created None", "universal.done None"))
        self.assertEqual(re.findall("'content': '([^']+)'", "".join(pieces)), ["one ", "socket, ", "any ", "provider"])

    async def test_page(self) -> None:
        """The page shows the answer."""
        *pieces, closed = await self.node(FOLDER / "browser.mjs", str(self.pasted("javascript")))
        self.assertEqual("".join(piece["append"] for piece in pieces), "hello from a page")
        self.assertEqual(closed, {"close": 1000})

    test_page.skip = missing_for_node()  # type: ignore[attr-defined]  # how trial is told

from __future__ import annotations

import inspect
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aigw import errors
from aigw.controls.locks import HeldSettings
from aigw.dispatch import stages
from aigw.serving.refusal import error_body
from aigw.wire.envelope import read_message

DOCS = Path(__file__).parent.parent / "docs"

# Endings that only the log sees: nobody is left to be told of them.
LOG_ONLY = {errors.ClientGone, errors.Interrupted}


def failures(root: type[errors.GatewayError] = errors.GatewayError) -> Iterator[type[errors.GatewayError]]:
    """Every class of failure that a client may be told of."""
    yield from (root,) if root not in LOG_ONLY else ()
    for kind in root.__subclasses__():
        yield from failures(kind)


class StagesTests(SynchronousTestCase):
    """`docs/architecture.rst` and `aigw/dispatch/stages.py` tell the same story."""

    def listed(self, text: str) -> list[tuple[int, str, str]]:
        """Number, name and rest of each item of a numbered list, whatever stands between name and rest."""
        items = re.findall(r"^(\d+)\. \**(.+?)\**(?: -|:) (.+)$", text, re.MULTILINE)
        return [(int(number), name, rest) for number, name, rest in items]

    def test_stages_of_the_page_are_those_of_the_code(self) -> None:
        """Whoever reads the architecture finds the stages in the order in which they run."""
        page = (DOCS / "architecture.rst").read_text().partition(".. _stages:")[2].partition("What always holds")[0]
        code = self.listed(inspect.getdoc(stages) or "")
        self.assertEqual(self.listed(page), code)
        names = [name.replace("the ", "").replace("-", " ").replace(" ", "_").upper() for _, name, _ in code]
        self.assertEqual([(stage.value, stage.name) for stage in stages.Stage], list(enumerate(names, 1)))


class ErrorsTests(SynchronousTestCase):
    """`docs/errors.rst` is made from `aigw/errors.py`."""

    def setUp(self) -> None:
        self.page = (DOCS / "errors.rst").read_text()

    def test_page_is_up_to_date(self) -> None:
        """Whoever adds or changes an error finds it on the page: `python docs/error_codes.py` writes it there."""
        self.assertEqual(self.page, runpy.run_path(str(DOCS / "error_codes.py"))["page"]())

    def test_example(self) -> None:
        """The error that the page shows is what that error looks like."""
        (shown,) = re.findall(r"\.\. code-block:: json\n\n((?:    .*\n|\n)+)", self.page)
        self.assertEqual(json.loads(error_body(errors.Unauthorized())), json.loads(shown))


class ProtocolTests(SynchronousTestCase):
    """`docs/protocol.rst` is a document that can be relied on."""

    def setUp(self) -> None:
        self.page = (DOCS / "protocol.rst").read_text()
        blocks = re.findall(r"\.\. code-block:: json\n\n((?:    .*\n|\n)+)", self.page)
        self.examples = [json.loads(block) for block in blocks]

    def test_requests_are_accepted(self) -> None:
        """Every example of a request is one that the gateway takes."""
        requests = [example for example in self.examples if example["type"] == "universal.create"]
        self.assertEqual(len(requests), 2)
        for request in requests:
            envelope = read_message(json.dumps(request).encode(), HeldSettings(), max_steps=16, event_id_chars=256)
            self.assertIsNone(envelope.refusal)

    def test_gateway_error_is_worded_as_shown(self) -> None:
        """The example of an error is what that error looks like."""
        (shown,) = (e["response"] for e in self.examples if "internalCode" in (e.get("response") or {}))
        self.assertEqual(json.loads(error_body(errors.InvalidProvider("opnai"))), shown)

    def test_every_code_is_explained(self) -> None:
        """Each code that a client may meet is in the table, with its status and whether to try again."""
        rows = re.findall(r"^(\d{4}) +(\d{3}) +(yes|no) ", self.page, re.MULTILINE)
        shown = {int(code): (int(status), retry == "yes") for code, status, retry in rows}
        self.assertEqual(shown, {kind.code: (kind.status, kind.retryable) for kind in failures()})

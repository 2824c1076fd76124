"""Steps made ready to be sent."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import ANONYMOUS
from aigw.dispatch.plan import Around, plan_step
from aigw.dispatch.template import Templates
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import ProviderTable
from aigw.testing.data_port import START_MS, flat_price
from aigw.values.step import Clocks
from tests.dispatch.parts import OPEN, step


class TrustTests(SynchronousTestCase):
    def test_operators_word(self) -> None:
        """Only where the operator has given the address may a request go to a private one."""
        own = ProviderSettings(base_url="http://127.0.0.1:8000")
        table = ProviderTable({"openai": own, "custom-local": own, "groq": ProviderSettings(headers={"x-team": "red"})})
        around = Around(OPEN, ANONYMOUS, {}, b"", START_MS, "", flat_price)
        for slug, trusted in (("openai", True), ("custom-local", True), ("groq", False), ("mistral", False)):
            made = step(slug)
            template = Templates(table.lookup, Clocks()).of(0, made, OPEN, START_MS)
            plan = plan_step(made, template, Clocks(), around)
            self.assertEqual(plan.request.trusted, trusted, slug)

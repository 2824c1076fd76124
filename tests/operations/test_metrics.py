"""The page that Prometheus reads."""

from __future__ import annotations

import attrs
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import Unauthorized
from aigw.logs.stats import LogStats
from aigw.operations.meter import Meter
from aigw.operations.metrics import Levels, Metrics
from aigw.values.record import Attempt, End, Origin, Target
from aigw.values.usage import Usage

SECRET = "tok_0123456789abcdef"


class MetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.meter = Meter(["openai", "anthropic"])
        self.logs = LogStats()
        self.ready = True
        levels = Levels(lambda: 3, lambda: 4, lambda: False, lambda: self.ready, lambda: 512)
        self.metrics = Metrics(self.meter, self.logs, levels, "0.1.0")

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = text_string_to_metric_families(self.metrics.render().decode())
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self.samples()[name, frozenset(labels.items())]

    def exchange(self) -> None:
        origin = Origin(bytes(16), "local", "default", "websocket", token=SECRET, user_agent="someone")
        target = Target("openai", model="gpt-fake", request_bytes=10)
        self.meter.opened()
        self.meter.ended(
            End(
                origin,
                target,
                duration_ms=40,
                first_byte_ms=7,
                status=200,
                complete=True,
                usage=Usage(5, 6),
                cost_nanousd=2_500_000_000,
                attempts=[Attempt(0, "openai", 200)],
            )
        )

    def test_an_exchange_shows(self) -> None:
        """After one request the page shows it: its status, tokens, cost and duration."""
        self.exchange()
        self.assertEqual(self.value("aigw_exchanges_total", provider="openai", status="2xx"), 1)
        self.assertEqual(self.value("aigw_attempts_total", provider="openai", status="2xx"), 1)
        self.assertEqual(self.value("aigw_tokens_out_total", provider="openai"), 6)
        self.assertEqual(self.value("aigw_cost_usd_total", provider="openai"), 2.5)
        self.assertEqual(self.value("aigw_exchange_duration_seconds_bucket", provider="openai", le="0.025"), 0)
        self.assertEqual(self.value("aigw_exchange_duration_seconds_bucket", provider="openai", le="0.05"), 1)
        self.assertEqual(self.value("aigw_exchange_duration_seconds_bucket", provider="openai", le="+Inf"), 1)
        self.assertEqual(self.value("aigw_exchange_duration_seconds_sum", provider="openai"), 0.04)

    def test_nobody_is_named(self) -> None:
        """No token, user agent or model is on the page: neither as a secret told nor as a label without bound."""
        self.exchange()
        page = self.metrics.render().decode()
        for text in (SECRET, "someone", "gpt-fake"):
            self.assertNotIn(text, page)

    def test_silent_providers_take_no_room(self) -> None:
        """A provider that nobody asks is not on the page."""
        self.exchange()
        self.assertNotIn("anthropic", self.metrics.render().decode())

    def test_levels(self) -> None:
        """What stands at a level is asked for at the moment of the scrape."""
        self.meter.opened()
        self.assertEqual(self.value("aigw_in_flight"), 1)
        self.assertEqual((self.value("aigw_sockets"), self.value("aigw_connections")), (3, 4))
        self.assertEqual((self.value("aigw_ready"), self.value("aigw_database_available")), (1, 0))
        self.ready = False
        self.assertEqual(self.value("aigw_ready"), 0)

    def test_everything_about_logs_is_there(self) -> None:
        """Each number that the log path counts can be watched."""
        fields = [field.name for field in attrs.fields(LogStats)]
        for number, name in enumerate(fields):
            setattr(self.logs, name, number + 1)
        shown = {name.removesuffix("_total"): value for (name, _), value in self.samples().items()}
        self.assertEqual([shown[f"aigw_log_{name}"] for name in fields], [number + 1 for number in range(len(fields))])

    def test_the_backlog(self) -> None:
        """How much the database does not have yet is asked for at the moment of the scrape."""
        self.assertEqual(self.value("aigw_log_backlog_bytes"), 512)

    def test_errors_and_refusals(self) -> None:
        """Errors are told apart by their code, and so are callers who were turned away."""
        self.meter.ended(End(Origin(bytes(16), "a", "g", "websocket"), Target("openai"), status=503, error_code=4011))
        self.meter.refused(Unauthorized())
        self.assertEqual(self.value("aigw_errors_total", code="4011"), 1)
        self.assertEqual(self.value("aigw_refusals_total", code="2009"), 1)

    def test_two_gateways_in_one_process(self) -> None:
        """The counters of one gateway are not those of another."""
        other = Metrics(
            Meter(["openai"]), LogStats(), Levels(lambda: 0, lambda: 0, lambda: True, lambda: True, lambda: 0), "0"
        )
        self.exchange()
        self.assertNotIn('provider="openai"', other.render().decode())

    def test_the_process(self) -> None:
        """Memory and CPU of the process are there, as usual."""
        self.assertGreater(self.value("process_resident_memory_bytes"), 0)

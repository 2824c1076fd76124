"""Failed attempts that are made again."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.dispatch.retry import RetryPolicy, retry_delay_ms, retry_policy
from aigw.errors import ClientGone, ConnectFailed, FirstByteTimeout, TruncatedStream
from aigw.testing.upstream import EVENT_STREAM, JSON
from aigw.values.gateway import Gateway
from tests.dispatch.parts import OPEN, ListReply, Workbench, step

ANSWER = b'{"model":"gpt-4o-mini"}'
RETRYING = Gateway(id="default", authentication=False, retry_max_attempts=3, retry_delay=100, retry_backoff="linear")


class PolicyTests(SynchronousTestCase):
    """What the owner and the caller set."""

    def test_owner(self) -> None:
        """The gateway's own settings hold when the request says nothing; without any, nothing is tried again."""
        self.assertEqual(retry_policy(RETRYING, {}), RetryPolicy(3, 100, "linear"))
        self.assertEqual(retry_policy(OPEN, {}).max_attempts, 1)

    def test_caller(self) -> None:
        """A request's headers go before the gateway's settings; numbers are brought into range, nonsense is not."""
        for value, attempts in {b"5": 5, b"9": 5, b"0": 1, b"two": 3, b"-1": 3, b"": 3}.items():
            self.assertEqual(retry_policy(RETRYING, {b"cf-aig-max-attempts": value}).max_attempts, attempts, value)
        for value, delay_ms in {b"250": 250, b"999999": 60_000, b"x": 100}.items():
            self.assertEqual(retry_policy(RETRYING, {b"cf-aig-retry-delay": value}).delay_ms, delay_ms, value)
        for value, backoff in {b"Exponential": "exponential", b"constant": "constant", b"cubic": "linear"}.items():
            self.assertEqual(retry_policy(RETRYING, {b"cf-aig-backoff": value}).backoff, backoff, value)

    def test_delays(self) -> None:
        """Delays grow as the backoff says, and never beyond a minute."""
        for backoff, expected in {
            "constant": [100, 100, 100, 100],
            "linear": [100, 200, 300, 400],
            "exponential": [100, 200, 400, 800],
        }.items():
            policy = RetryPolicy(5, 100, backoff)  # type: ignore[arg-type]  # one of the three
            self.assertEqual([retry_delay_ms(policy, attempt) for attempt in (1, 2, 3, 4)], expected)
        self.assertEqual(retry_delay_ms(RetryPolicy(5, 40_000, "exponential"), 4), 60_000)

    def test_retry_after(self) -> None:
        """A provider that names a time is left alone for as long."""
        policy = RetryPolicy(5, 100)
        for value, expected in {b"2": 2000, b"1.5": 1500, b"0": 100, b"soon": 100}.items():
            self.assertEqual(retry_delay_ms(policy, 1, ((b"retry-after", value),)), expected)
        self.assertEqual(retry_delay_ms(policy, 1, ((b"retry-after-ms", b"350"),)), 350)
        self.assertEqual(retry_delay_ms(policy, 1, ((b"retry-after-ms", b"x"), (b"retry-after", b"7"))), 7000)

    def test_retry_after_a_date(self) -> None:
        """A date is read against the provider's own clock; without that it says nothing."""
        later = (b"retry-after", b"Mon, 23 Nov 2026 00:00:03 GMT")
        date = (b"date", b"Mon, 23 Nov 2026 00:00:00 GMT")
        policy = RetryPolicy(5, 100)
        self.assertEqual(retry_delay_ms(policy, 1, (later, date)), 3000)
        self.assertEqual(retry_delay_ms(policy, 1, (later,)), 100)

    def test_retry_after_too_long(self) -> None:
        """A provider that asks for an hour is not asked again in a minute: the client gets its answer now."""
        self.assertIsNone(retry_delay_ms(RetryPolicy(5, 100), 1, ((b"retry-after", b"3600"),)))


class RetryTests(SynchronousTestCase):
    """What a client and a log see of them."""

    def setUp(self) -> None:
        self.bench = Workbench()

    def wait(self, seconds: float) -> None:
        """Let time pass; the wheel is a tick late at most."""
        self.bench.clock.advance(seconds + 0.2)

    def test_second_attempt_answers(self) -> None:
        """A provider that was busy is asked again, after the delay and not before; the client sees one good answer."""
        _, reply = self.bench.asked(gateway=RETRYING)
        self.bench.upstream.last.answer(b"{}", 503)
        self.assertEqual((len(self.bench.upstream.calls), reply.outcomes), (1, []))
        self.wait(0.1)
        self.assertEqual(len(self.bench.upstream.calls), 2)
        self.bench.upstream.last.answer(ANSWER)
        self.bench.sink.flush()
        self.assertEqual((reply.outcome.error, reply.outcome.body), (None, ANSWER))
        self.assertEqual([attempt.status for attempt in self.bench.record.attempts], [503, 200])
        self.assertEqual(len(self.bench.sink.ended), 1)

    def test_gives_up(self) -> None:
        """After the last attempt the provider's own error comes back."""
        _, reply = self.bench.asked(gateway=RETRYING)
        for _ in range(3):
            self.bench.upstream.last.answer(b'{"error":"busy"}', 429)
            self.wait(1)
        self.bench.sink.flush()
        self.assertEqual(
            (reply.outcome.body, reply.outcome.head and reply.outcome.head.status), (b'{"error":"busy"}', 429)
        )
        self.assertEqual(len(self.bench.upstream.calls), 3)

    def test_then_the_next_step(self) -> None:
        """The next step is tried when the attempts of this one are used up, with attempts of its own."""
        self.bench.asked(step(max_attempts="2", retry_delay="0"), step("groq", max_attempts="1"))
        for _ in range(2):
            self.bench.upstream.last.fail(ConnectFailed())
            self.wait(0)
        self.assertIn(b"groq", self.bench.upstream.last.request.url)
        self.bench.upstream.last.answer(ANSWER)
        self.bench.sink.flush()
        self.assertEqual([attempt.step for attempt in self.bench.record.attempts], [0, 0, 1])

    def test_not_for_ones_own_mistake(self) -> None:
        """A request that the provider calls wrong is not sent again."""
        self.bench.asked(gateway=RETRYING)
        self.bench.upstream.last.answer(b"{}", 400)
        self.wait(5)
        self.assertEqual(len(self.bench.upstream.calls), 1)

    def test_not_after_the_first_byte(self) -> None:
        """A stream that breaks off is not begun again: the client would read its beginning twice."""
        _, reply = self.bench.asked(gateway=RETRYING)
        self.bench.upstream.last.head(200, EVENT_STREAM)
        self.bench.upstream.last.fail(TruncatedStream())
        self.wait(5)
        self.bench.sink.flush()
        self.assertEqual((len(self.bench.upstream.calls), reply.error_code), (1, TruncatedStream.code))

    def test_client_leaves_while_waiting(self) -> None:
        """Nobody is asked for a client that left between two attempts, and the log has the one that was made."""
        exchange, _ = self.bench.asked(gateway=RETRYING)
        self.bench.upstream.last.answer(b"{}", 503)
        exchange.abandon(ClientGone())
        self.wait(5)
        self.bench.sink.flush()
        self.assertEqual((len(self.bench.upstream.calls), len(self.bench.record.attempts)), (1, 1))
        self.assertEqual(self.bench.record.error_code, ClientGone.code)

    def test_last_attempt_is_patient(self) -> None:
        """The caller's timeout holds for every attempt but the last of several."""
        self.bench.asked(step(max_attempts="2", request_timeout="1000", retry_delay="0"))
        first = self.bench.upstream.last
        first.fail(FirstByteTimeout())
        self.wait(0)
        self.assertEqual(
            (first.request.clocks.first_byte_s, self.bench.upstream.last.request.clocks.first_byte_s), (1, 300)
        )

    def test_one_attempt_keeps_its_timeout(self) -> None:
        """Where nothing is tried again, the caller's timeout ends the request."""
        _, reply = self.bench.asked(step(request_timeout="1000"), reply=ListReply())
        self.assertEqual(self.bench.upstream.last.request.clocks.first_byte_s, 1)
        self.bench.upstream.last.fail(FirstByteTimeout())
        self.bench.sink.flush()
        self.assertEqual(reply.error_code, FirstByteTimeout.code)

    def test_hopeless_retry(self) -> None:
        """When the provider wants to be left alone for longer than anybody waits, its answer comes back at once."""
        _, reply = self.bench.asked(gateway=RETRYING)
        self.bench.upstream.last.answer(b"{}", 429, (*JSON, (b"retry-after", b"3600")))
        self.bench.sink.flush()
        self.assertEqual(reply.outcome.head and reply.outcome.head.status, 429)

    def test_retry_after_is_kept(self) -> None:
        """A provider that asks for two seconds gets them."""
        self.bench.asked(gateway=RETRYING)
        self.bench.upstream.last.answer(b"{}", 429, (*JSON, (b"retry-after", b"2")))
        self.wait(1)
        self.assertEqual(len(self.bench.upstream.calls), 1)
        self.wait(1)
        self.assertEqual(len(self.bench.upstream.calls), 2)

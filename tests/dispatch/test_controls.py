"""What controls do to an exchange: refuse it, answer it themselves, share its call, and count what it used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from aigw.controls.authentication import Bound, Caller
from aigw.errors import ClientGone, ConnectFailed, StateUnavailable
from aigw.interfaces import ICounters
from aigw.testing.upstream import EVENT_STREAM
from aigw.values.counting import Charge, Correction, Verdict
from aigw.values.gateway import Gateway, SpendLimits, SpendRule
from aigw.values.limits import Bounds, LimitRule
from tests.dispatch.parts import ListReply, Workbench, step

ANSWER = b'{"model":"gpt-4o-mini-2024","usage":{"prompt_tokens":10,"completion_tokens":5}}'
STREAM = (
    b'data: {"choices":[{"delta":{"content":"Rain."}}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}\n\n',
    b"data: [DONE]\n\n",
)
PRICE = 150  # nano-dollars: ten a token


def gateway(**fields: Any) -> Gateway:
    """An open one."""
    return Gateway(id="default", authentication=False, **fields)


def budget(usd: float, **fields: Any) -> Gateway:
    """A gateway with one budget an hour."""
    rule = SpendRule(limit=usd, limit_type="cost", window=3600, id="hourly")
    return gateway(spend_limits=SpendLimits(rules=(rule,)), **fields)


class RateLimitTests(SynchronousTestCase):
    """So much in so long."""

    def setUp(self) -> None:
        self.bench = Workbench()
        self.gateway = gateway(rate_limiting_limit=2, rate_limiting_interval=60)

    def ask(self, *steps: Any, **more: Any) -> ListReply:
        """An exchange whose provider, if it is asked, has not answered yet."""
        return self.bench.asked(*steps, gateway=self.gateway, **more)[1]

    def test_over_the_limit(self) -> None:
        """The third of two gets 429 with code 2003, is told when to come back, and reaches no provider."""
        replies = [self.ask() for _ in range(3)]
        self.assertEqual([len(self.bench.upstream.calls), replies[2].error_code], [2, 2003])
        error = replies[2].outcome.error
        assert error is not None
        headers = dict(error.headers)
        self.assertEqual(
            (error.status, headers[b"ratelimit-limit"], headers[b"ratelimit-remaining"]), (429, b"2", b"0")
        )
        self.assertGreater(int(headers[b"retry-after"]), 0)
        record = self.bench.sink.ended[-1]
        self.assertEqual((record.status, record.error_code, record.attempts), (429, 2003, []))

    def test_answers_tell_what_is_left(self) -> None:
        """Every answer says how much of the limit is left."""
        reply = self.ask()
        self.bench.upstream.last.answer(ANSWER)
        self.bench.sink.flush()
        assert reply.outcome.head is not None
        self.assertIn((b"ratelimit-remaining", b"1"), reply.outcome.head.own)

    def test_next_window(self) -> None:
        """When the window is over, there is room again."""
        for _ in range(2):
            self.ask()
        self.bench.clock.advance(60)
        self.assertEqual(self.ask().outcomes, [])

    def test_client_that_left_in_time(self) -> None:
        """A request that never reached a provider takes nothing."""
        exchange, _ = self.bench.open(gateway=self.gateway)
        exchange.abandon(ClientGone())
        self.bench.sink.flush()
        replies = [self.ask() for _ in range(2)]
        self.assertEqual([reply.outcomes for reply in replies], [[], []])

    def test_one_exchange_counts_once(self) -> None:
        """A request with three steps is one request, however many of them fail."""
        steps = [step() for _ in range(3)]
        self.ask(*steps)
        for _ in range(3):
            self.bench.upstream.last.fail(ConnectFailed())
        self.assertEqual(len(self.bench.upstream.calls), 3)
        self.ask()
        self.assertEqual(len(self.bench.upstream.calls), 4)
        self.assertEqual(self.ask().error_code, 2003)

    def test_next_step_where_the_limit_is_another(self) -> None:
        """A step that has no room left is passed over for one that has."""
        rule = LimitRule(limit=1, window=60, per=("provider",))
        self.gateway = gateway(rate_limits=(rule,))
        self.ask(step("openai"))
        self.ask(step("openai"), step("groq"))
        self.assertEqual([call.request.url[8:16] for call in self.bench.upstream.calls], [b"api.open", b"api.groq"])

    def test_bounds_of_the_token(self) -> None:
        """A token's own models and limits hold wherever it is used."""
        bounds = Bounds(models=("gpt-4o*",), limits=(LimitRule(limit=1, window=60),))
        caller = Caller("tok_1", True, bounds=(Bound("token:tok_1", bounds),))
        self.gateway = gateway()
        other = b'{"model":"o3","messages":[]}'
        self.assertEqual(self.ask(step(query=other), caller=caller).error_code, 4063)
        self.assertEqual(self.ask(caller=caller).outcomes, [])
        self.assertEqual(self.ask(caller=caller).error_code, 2003)
        self.assertEqual(self.ask().outcomes, [])


class SpendLimitTests(SynchronousTestCase):
    """So much money in so long."""

    def setUp(self) -> None:
        self.bench = Workbench()

    def test_settled_with_the_real_cost(self) -> None:
        """What a request is thought to cost holds a place until it is known what it did."""
        owner = budget(1e-6)
        for _ in range(6):
            self.bench.asked(step(custom_cost='{"per_token_in":1e-8,"per_token_out":1e-8}'), gateway=owner)
            self.bench.upstream.last.answer(ANSWER)
            self.bench.sink.flush()
        self.assertEqual([record.cost_nanousd for record in self.bench.sink.ended], [PRICE] * 6)
        self.assertEqual([sum(one.amount for one in record.charged) for record in self.bench.sink.ended], [PRICE] * 6)
        self.bench.asked(gateway=owner)
        _, reply = self.bench.asked(gateway=owner)
        self.assertEqual(reply.error_code, 2045)

    def test_a_price_for_the_whole_request(self) -> None:
        """Such a price is logged and counted, also for an answer that tells no usage, and not for an error."""
        for status in (200, 400):
            self.bench.asked(step(custom_cost='{"total_cost":1e-6}'), gateway=budget(1))
            self.bench.upstream.last.answer(b"{}", status)
            self.bench.sink.flush()
        logged = [(record.cost_nanousd, sum(one.amount for one in record.charged)) for record in self.bench.sink.ended]
        self.assertEqual(logged, [(1000, 1000), (None, 0)])

    def test_many_at_once(self) -> None:
        """Of 200 at once, as many reach a provider as the budget pays for, though some leave and some fail."""
        owner = budget(1e-5)
        fixed = step(custom_cost='{"total_cost":1e-6}')
        opened = [self.bench.asked(fixed, gateway=owner) for _ in range(200)]
        self.assertEqual(len(self.bench.upstream.calls), 10)
        calls = list(self.bench.upstream.calls)
        calls[0].fail(ConnectFailed())
        calls[1].head(headers=EVENT_STREAM)
        calls[1].data(STREAM[0])
        opened[1][0].abandon(ClientGone())
        for call in calls[2:]:
            call.answer(ANSWER)
        self.bench.sink.flush()
        # The one that failed is not paid for; the one whose client left is.
        for _ in range(3):
            self.bench.asked(fixed, gateway=owner)
        self.assertEqual(len(self.bench.upstream.calls), 11)

    def test_begin_tells_what_is_held(self) -> None:
        """Should the process die, what was held counts as spent."""
        self.bench.open(step(custom_cost='{"total_cost":1e-6}'), gateway=budget(1))
        (begun,) = self.bench.sink.begun
        self.assertEqual([one.amount for one in begun.charged], [1000])

    def test_model_without_a_price(self) -> None:
        """Where its owner says so, a model whose price nobody knows is refused."""
        unknown = step(query=b'{"model":"unknown-1"}')
        _, reply = self.bench.asked(unknown, gateway=budget(1, unpriced_models="refuse"))
        self.assertEqual((reply.error_code, self.bench.upstream.calls), (4061, []))


class CacheTests(SynchronousTestCase):
    """Answers that are given again."""

    def setUp(self) -> None:
        self.bench = Workbench()
        self.gateway = gateway(cache_ttl=300)

    def ask(self, *steps: Any, reply: ListReply | None = None) -> ListReply:
        """An exchange, with all records safe."""
        return self.bench.asked(*steps, gateway=self.gateway, reply=reply)[1]

    def fill(self) -> None:
        """Let the provider answer once."""
        self.ask()
        self.bench.upstream.last.answer(ANSWER)
        self.bench.sink.flush()

    def test_hit(self) -> None:
        """The same question gets the same answer, at no cost, in one row without an attempt."""
        self.fill()
        reply = self.ask()
        assert reply.outcome.head is not None
        self.assertEqual((reply.outcome.body, reply.outcome.head.cache_status), (ANSWER, "HIT"))
        self.assertEqual(len(self.bench.upstream.calls), 1)
        made, given = self.bench.sink.ended
        self.assertEqual((made.cached, given.cached, given.cost_nanousd, given.attempts), (False, True, 0, []))
        self.assertEqual((given.usage, given.response_model), (made.usage, made.response_model))

    def test_hit_waits_for_its_record(self) -> None:
        """Also an answer that cost nothing leaves behind its row."""
        self.fill()
        _, reply = self.bench.open(gateway=self.gateway)
        self.assertEqual(reply.outcomes, [])
        self.bench.sink.flush()
        self.assertEqual(reply.outcome.body, ANSWER)

    def test_hit_counts_against_no_limit(self) -> None:
        """Hits are free."""
        self.gateway = gateway(cache_ttl=300, rate_limiting_limit=1, rate_limiting_interval=60)
        self.fill()
        self.assertEqual([self.ask().error_code for _ in range(5)], [0] * 5)
        self.assertEqual(self.ask(step(query=b'{"model":"other"}')).error_code, 2003)

    def test_hit_over_http(self) -> None:
        """A client that takes pieces gets the same bytes."""
        self.fill()
        reply = self.ask(reply=ListReply(wants_whole=False, holds_end=True))
        self.assertEqual((b"".join(reply.chunks), reply.heads[0].cache_status), (ANSWER, "HIT"))
        self.assertIsNone(reply.outcome.error)

    def test_stream_is_replayed_as_one(self) -> None:
        """A cached stream comes event by event."""
        self.ask()
        self.bench.upstream.last.head(headers=EVENT_STREAM)
        self.bench.upstream.last.data(*STREAM)
        self.bench.upstream.last.complete()
        self.bench.sink.flush()
        reply = self.ask()
        self.bench.clock.advance(0)
        self.bench.sink.flush()
        self.assertEqual((len(reply.events), reply.heads[0].cache_status), (3, "HIT"))
        self.assertTrue(reply.outcome.whole)
        self.assertEqual(len(self.bench.upstream.calls), 1)
        self.assertTrue(self.bench.sink.ended[-1].cached)

    def test_failed_answers_are_not_kept(self) -> None:
        """Neither an error nor half an answer is given again."""
        self.ask()
        self.bench.upstream.last.answer(b'{"error":{}}', status=500)
        self.ask()
        self.bench.upstream.last.head()
        self.bench.upstream.last.data(ANSWER[:20])
        self.bench.upstream.last.fail(ConnectFailed())
        self.ask()
        self.assertEqual(len(self.bench.upstream.calls), 3)

    def test_stale_if_error(self) -> None:
        """When its time is over, an answer still serves should the provider fail."""
        self.gateway = gateway(cache_ttl=60, cache_stale_if_error=600)
        for fail in ("no answer", "an error"):
            with self.subTest(fail):
                self.bench = Workbench()
                self.fill()
                self.bench.clock.advance(120)
                reply = self.ask()
                if fail == "no answer":
                    self.bench.upstream.last.fail(ConnectFailed())
                else:
                    self.bench.upstream.last.answer(b'{"error":{}}', status=503)
                self.bench.sink.flush()
                assert reply.outcome.head is not None
                self.assertEqual((reply.outcome.body, reply.outcome.head.cache_status), (ANSWER, "STALE"))
                record = self.bench.sink.ended[-1]
                self.assertEqual((record.cached, record.controls, len(record.attempts)), (True, {"cache": "STALE"}, 1))

    def test_stale_answers_cost_no_tokens(self) -> None:
        """What the cache gives when the provider fails was counted when it was made."""
        rule = LimitRule(limit=100, window=3600, unit="tokens")
        self.gateway = gateway(cache_ttl=60, cache_stale_if_error=3600, rate_limits=(rule,))
        small = step(query=b'{"model":"gpt-4o-mini","max_tokens":5}')
        self.ask(small)
        self.bench.upstream.last.answer(ANSWER)
        for _ in range(20):
            self.bench.clock.advance(61)
            self.ask(small)
            self.bench.upstream.last.fail(ConnectFailed())
        self.bench.sink.flush()
        self.assertEqual({record.error_code for record in self.bench.sink.ended}, {0})


class SingleFlightTests(SynchronousTestCase):
    """Identical requests share one call."""

    def setUp(self) -> None:
        self.bench = Workbench()
        self.gateway = gateway(
            cache_ttl=300, cache_single_flight=True, rate_limiting_limit=1, rate_limiting_interval=60
        )

    def test_one_call_for_all(self) -> None:
        """Of ten that ask the same at once, one asks the provider, and one pays."""
        opened = [self.bench.asked(gateway=self.gateway)[1] for _ in range(10)]
        self.assertEqual(len(self.bench.upstream.calls), 1)
        self.bench.upstream.last.answer(ANSWER)
        self.bench.sink.flush()
        self.assertEqual({reply.outcome.body for reply in opened}, {ANSWER})
        records = self.bench.sink.ended
        self.assertEqual(sorted(record.cost_nanousd or 0 for record in records), [0] * 9 + [PRICE])
        self.assertEqual([len(record.attempts) for record in records], [1] + [0] * 9)
        self.assertEqual([record.cached for record in records], [False] + [True] * 9)

    def test_first_one_leaves(self) -> None:
        """Whoever came first may go; the others get their answer, and somebody pays for it."""
        first, _ = self.bench.asked(gateway=self.gateway)
        _, reply = self.bench.asked(gateway=self.gateway)
        first.abandon(ClientGone())
        self.assertFalse(self.bench.upstream.last.stopped)
        self.bench.upstream.last.answer(ANSWER)
        self.bench.sink.flush()
        self.assertEqual(reply.outcome.body, ANSWER)
        self.assertEqual([record.cost_nanousd for record in self.bench.sink.ended], [0, PRICE])

    def test_call_that_was_only_promised(self) -> None:
        """Who comes to a step while the call for it is about to be made does not wait for it, and pays for its own."""
        shared = gateway(cache_ttl=300, cache_single_flight=True)
        _, second = self.bench.asked(step("groq"), step("openai"), gateway=shared)
        # The log does not know of the first one yet, so that it has asked nobody.
        _, first = self.bench.open(step("openai"), gateway=shared)
        self.bench.upstream.last.fail(ConnectFailed())
        self.bench.sink.flush()
        self.assertEqual(len(self.bench.upstream.calls), 2)
        self.bench.upstream.last.answer(ANSWER)
        self.bench.sink.flush()
        self.assertEqual([reply.outcome.body for reply in (first, second)], [ANSWER, ANSWER])

    def test_last_one_leaves(self) -> None:
        """When nobody waits any more, the provider is stopped."""
        opened = [self.bench.asked(gateway=self.gateway)[0] for _ in range(3)]
        for exchange in opened:
            self.assertFalse(self.bench.upstream.last.stopped)
            exchange.abandon(ClientGone())
        self.assertTrue(self.bench.upstream.last.stopped)


@implementer(ICounters)
class SlowCounters:
    """Counters elsewhere, which answer when the test says so."""

    def __init__(self) -> None:
        self.available = True
        self.asked: list[Deferred[Verdict]] = []
        self.cancelled = 0

    def take(self, charges: Sequence[Charge]) -> Deferred[Verdict]:
        """See `ICounters`."""
        asked: Deferred[Verdict] = Deferred(self._cancelled)
        self.asked.append(asked)
        return asked

    def _cancelled(self, asked: Deferred[Verdict]) -> None:
        self.cancelled += 1

    def settle(self, corrections: Sequence[Correction]) -> None:
        """See `ICounters`."""

    def read(self, charges: Sequence[Charge]) -> tuple[int, ...]:
        """See `ICounters`."""
        return tuple(0 for _ in charges)


class SharedCountersTests(SynchronousTestCase):
    """A step that waits for counters on another machine."""

    def setUp(self) -> None:
        self.counters = SlowCounters()
        self.bench = Workbench(counters=self.counters)

    def ask(self, **fields: Any) -> tuple[Any, ListReply]:
        """An exchange under a limit."""
        return self.bench.asked(gateway=gateway(rate_limiting_limit=1, rate_limiting_interval=60, **fields))

    def test_let_through(self) -> None:
        """The provider is asked when the counters have said yes, and not before."""
        self.ask()
        self.assertEqual((self.bench.sink.begun, self.bench.upstream.calls), ([], []))
        self.counters.asked[0].callback(Verdict(-1, (1,)))
        self.bench.sink.flush()
        self.assertEqual(len(self.bench.upstream.calls), 1)

    def test_refused(self) -> None:
        """A no from elsewhere is a no."""
        _, reply = self.ask()
        self.counters.asked[0].callback(Verdict(0, (1,), 0))
        self.bench.sink.flush()
        self.assertEqual((reply.error_code, self.bench.upstream.calls), (2003, []))

    def test_client_leaves_meanwhile(self) -> None:
        """Nobody waits for counters on behalf of a client that has left, and there is still one record."""
        exchange, reply = self.ask()
        exchange.abandon(ClientGone())
        self.bench.sink.flush()
        self.assertEqual((self.counters.cancelled, reply.error_code, len(self.bench.sink.ended)), (1, 4990, 1))

    def test_away(self) -> None:
        """When the counters do not answer, the owner's choice decides."""
        for choice, code in (("open", 0), ("closed", 4064)):
            with self.subTest(choice):
                _, reply = self.ask(rate_limits_when_down=choice)
                self.counters.asked[-1].errback(StateUnavailable())
                self.bench.sink.flush()
                self.assertEqual(reply.error_code if reply.outcomes else 0, code)

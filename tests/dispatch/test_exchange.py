"""One exchange: its steps, its endings, and what the log says of it."""

from __future__ import annotations

import gzip
import zlib

import attrs
from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import Caller
from aigw.dispatch.accounting import ATTEMPTS_KEPT
from aigw.errors import ClientGone, ConnectTimeout, Drained, Draining, FirstByteTimeout, TruncatedStream
from aigw.testing.upstream import EVENT_STREAM, JSON
from aigw.values.gateway import Gateway
from aigw.values.step import Step
from aigw.values.usage import Usage
from tests.dispatch.parts import CHAT, ListReply, Workbench, step

ANSWER = b'{"model":"gpt-4o-mini-2024","usage":{"prompt_tokens":10,"completion_tokens":5}}'
CHUNK = b'{"model":"gpt-4o-mini-2024","choices":[{"delta":{"content":"It will rain, and then stop."}}]}'
LAST_CHUNK = b'{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}'


class WholeAnswerTests(SynchronousTestCase):
    """Answers that are no streams."""

    def setUp(self) -> None:
        self.bench = Workbench()

    def test_answer_waits_for_its_record(self) -> None:
        """The client gets the answer when its record is safe, and not before."""
        _, reply = self.bench.asked()
        self.bench.upstream.last.answer(ANSWER)
        self.assertEqual((reply.outcomes, len(self.bench.sink.ended)), ([], 1))
        self.bench.sink.step()
        self.assertEqual((reply.outcome.error, reply.outcome.body), (None, ANSWER))
        self.assertEqual((reply.heads, reply.chunks), ([], []))
        self.assertEqual(self.bench.dispatcher.in_flight, 0)

    def test_provider_waits_for_the_begin(self) -> None:
        """No provider is asked before the log knows of the request."""
        self.bench.open()
        self.assertEqual((len(self.bench.sink.begun), self.bench.upstream.calls), (1, []))
        self.bench.sink.step()
        self.assertEqual(len(self.bench.upstream.calls), 1)

    def test_record(self) -> None:
        """The row says who asked what, how long it took, what it used and what it cost."""
        bench = self.bench
        _, reply = bench.open(
            step(metadata='{"plan":"paid"}'),
            caller=Caller("tok_1", True),
            event_id="weather-1",
            user_agent="a test",
        )
        bench.clock.advance(1)
        bench.sink.flush()
        bench.clock.advance(0.25)
        call = bench.upstream.last
        call.head()
        bench.clock.advance(0.5)
        call.data(ANSWER[:20], ANSWER[20:])
        bench.clock.advance(0.25)
        call.complete()
        bench.sink.flush()
        record = bench.record
        self.assertEqual(record.origin, bench.sink.begun[0].origin)
        self.assertEqual(
            (record.origin.event_id, record.origin.token, record.origin.authenticated, record.origin.user_agent),
            ("weather-1", "tok_1", True, "a test"),
        )
        self.assertEqual(record.origin.metadata, b'{"plan":"paid"}')
        self.assertEqual((record.target.provider, record.target.path), ("openai", "chat/completions"))
        self.assertEqual((record.target.model, record.response_model), ("gpt-4o-mini", "gpt-4o-mini-2024"))
        self.assertEqual(record.target.request_content_type, "application/json")
        self.assertEqual(record.target.request_bytes, len(CHAT))
        self.assertEqual((record.duration_ms, record.first_byte_ms), (2000, 1750))
        self.assertEqual((record.status, record.success, record.complete, record.step), (200, True, True, 0))
        self.assertEqual((record.response_content_type, record.response_bytes), ("application/json", len(ANSWER)))
        self.assertEqual((record.usage, record.cost_nanousd), (Usage(10, 5), 150))
        self.assertEqual((record.request_body, record.response_body), (CHAT, ANSWER))
        self.assertEqual((record.error_code, record.error), (0, ""))
        (attempt,) = record.attempts
        self.assertEqual((attempt.status, attempt.error_code, attempt.model), (200, 0, "gpt-4o-mini"))
        self.assertEqual((attempt.started_ms, attempt.first_byte_ms, attempt.duration_ms), (1000, 250, 1000))
        self.assertEqual(reply.outcome.log_id, reply.outcome.head.log_id if reply.outcome.head else "")
        self.assertEqual(bench.meter.records, [record])

    def test_unknown_price_is_null(self) -> None:
        """A model without a price costs nobody knows what, never nothing."""
        self.bench.asked(step(query=b'{"model":"unknown-1"}'))
        self.bench.upstream.last.answer(b'{"usage":{"prompt_tokens":10,"completion_tokens":5}}')
        self.assertEqual((self.bench.record.usage, self.bench.record.cost_nanousd), (Usage(10, 5), None))

    def test_error_of_the_provider_is_the_answer(self) -> None:
        """A provider's error, on the only step, comes back as it is; the row is no success, but complete."""
        _, reply = self.bench.asked()
        self.bench.upstream.last.answer(b'{"error":{"message":"slow down"}}', status=429)
        self.bench.sink.flush()
        self.assertEqual((reply.outcome.error, reply.outcome.body), (None, b'{"error":{"message":"slow down"}}'))
        record = self.bench.record
        self.assertEqual((record.status, record.success, record.complete), (429, False, True))

    def test_answer_too_large(self) -> None:
        """An answer that cannot be held ends with code 4025, and the provider is left in the middle of it."""
        bench = Workbench(response_bytes=1024)
        _, reply = bench.asked()
        bench.upstream.last.head()
        bench.upstream.last.data(b"x" * 1024)
        self.assertEqual(bench.sink.ended, [])
        bench.upstream.last.data(b"x")
        bench.sink.flush()
        self.assertEqual((reply.error_code, bench.upstream.last.stopped), (4025, True))
        self.assertEqual((bench.record.status, bench.record.success, bench.record.complete), (502, False, False))

    def test_answer_cut_with_its_connection(self) -> None:
        """JSON that stops in the middle, because its length was never told, is no success."""
        _, reply = self.bench.asked()
        self.bench.upstream.last.answer(ANSWER[:30])
        self.bench.sink.flush()
        self.assertEqual(reply.error_code, TruncatedStream.code)
        self.assertEqual((self.bench.record.status, self.bench.record.success), (502, False))
        self.assertEqual(self.bench.record.response_body, ANSWER[:30])

    def test_odd_json_is_whole(self) -> None:
        """An answer whose JSON holds a lone surrogate is odd and legal."""
        _, reply = self.bench.asked()
        self.bench.upstream.last.answer(b'{"text":"\\ud800"}')
        self.bench.sink.flush()
        self.assertEqual(reply.error_code, 0)

    def test_error_page_is_no_cut_answer(self) -> None:
        """An error that is called JSON and is none comes back as the provider sent it."""
        _, reply = self.bench.asked()
        self.bench.upstream.last.answer(b"<html>Bad Gateway</html>", status=502)
        self.bench.sink.flush()
        self.assertEqual((reply.error_code, reply.outcome.body), (0, b"<html>Bad Gateway</html>"))

    def test_route_that_passes_bytes_on(self) -> None:
        """A route that wants no whole answers gets head and bytes as they come, and an outcome without a body."""
        _, reply = self.bench.asked(reply=ListReply(wants_whole=False))
        call = self.bench.upstream.last
        call.head()
        call.data(ANSWER[:20], ANSWER[20:])
        self.assertEqual((len(reply.heads), b"".join(reply.chunks)), (1, ANSWER))
        call.complete()
        self.bench.sink.flush()
        self.assertEqual((reply.outcome.error, reply.outcome.body), (None, b""))
        self.assertEqual(self.bench.record.usage, Usage(10, 5))


class StreamTests(SynchronousTestCase):
    """Answers that are streams of events."""

    def setUp(self) -> None:
        self.bench = Workbench()
        _, self.reply = self.bench.asked()
        self.call = self.bench.upstream.last

    def begin(self) -> None:
        """The provider begins to stream."""
        self.call.head(headers=EVENT_STREAM)

    def end(self, code: int) -> None:
        """The stream is over, with this code."""
        self.bench.sink.flush()
        self.assertEqual((self.reply.error_code, self.bench.record.error_code), (code, code))
        self.assertEqual(self.bench.record.complete, code == 0)

    def test_whole_stream(self) -> None:
        """Events pass as they come; with the end mark the stream is complete, and its usage is read."""
        self.begin()
        self.assertEqual(len(self.reply.heads), 1)
        self.call.events(CHUNK, LAST_CHUNK, b"[DONE]")
        self.assertEqual([event.data for event in self.reply.events], [CHUNK, LAST_CHUNK, b"[DONE]"])
        self.call.complete()
        self.assertEqual(self.reply.outcomes, [])
        self.end(0)
        self.assertEqual((self.bench.record.usage, self.bench.record.success), (Usage(10, 5), True))

    def test_events_split_anywhere(self) -> None:
        """Where the network cuts the stream does not matter."""
        self.begin()
        for byte in b"data: %b\r\n\r\ndata: [DONE]\n\n" % CHUNK:
            self.call.data(bytes([byte]))
        self.call.complete()
        self.assertEqual([event.data for event in self.reply.events], [CHUNK, b"[DONE]"])
        self.end(0)

    def test_stream_without_end_mark(self) -> None:
        """A stream that stops without its end mark is truncated, however politely the connection ended."""
        self.begin()
        self.call.events(CHUNK)
        self.call.complete()
        self.end(TruncatedStream.code)
        self.assertEqual((self.bench.record.status, self.bench.record.success), (200, False))

    def test_last_event_without_blank_line(self) -> None:
        """A server that leaves out the blank line behind `[DONE]` has ended its stream all the same."""
        self.begin()
        self.call.events(CHUNK)
        self.call.data(b"data: [DONE]")
        self.call.complete()
        self.end(0)

    def test_half_an_event_is_none(self) -> None:
        """The beginning of an event that was cut off does not reach the client."""
        self.begin()
        self.call.data(b'data: {"half":')
        self.call.complete()
        self.assertEqual(self.reply.events, [])
        self.end(TruncatedStream.code)

    def test_error_within_a_stream(self) -> None:
        """An error that the provider reports within its stream reaches the client, and the row is no success."""
        self.begin()
        error = b'{"error":{"message":"overloaded"}}'
        self.call.events(CHUNK, error)
        self.call.complete()
        self.assertEqual([event.data for event in self.reply.events], [CHUNK, error])
        self.end(2005)

    def test_provider_breaks_off(self) -> None:
        """A stream whose connection breaks ends with the failure's own code; nothing is tried again."""
        self.begin()
        self.call.events(CHUNK)
        self.call.fail(ConnectTimeout())
        self.assertEqual(len(self.bench.upstream.calls), 1)
        self.end(ConnectTimeout.code)

    def test_event_too_large(self) -> None:
        """An event that cannot be held ends the stream with code 4025, and the provider is left."""
        bench = Workbench(event_bytes=1024)
        _, reply = bench.asked()
        bench.upstream.last.head(headers=EVENT_STREAM)
        bench.upstream.last.data(b"data: " + b"x" * 2000)
        bench.sink.flush()
        self.assertEqual((reply.error_code, bench.upstream.last.stopped), (4025, True))

    def test_last_event_too_large(self) -> None:
        """A last event that is too large and has no end still lets the exchange end."""
        bench = Workbench(event_bytes=1024)
        _, reply = bench.asked()
        bench.upstream.last.head(headers=EVENT_STREAM)
        bench.upstream.last.data(b"data: " + b"x" * 1000 + b"\ndata: " + b"x" * 1000)
        bench.upstream.last.complete()
        bench.sink.flush()
        self.assertEqual(reply.error_code, 4025)

    def test_stream_that_was_left_is_estimated(self) -> None:
        """The provider charges for what it made, so a stream that its client left has an estimate, and says so."""
        exchange = next(iter(self.bench.dispatcher._running))
        self.begin()
        self.call.events(CHUNK)
        exchange.abandon(ClientGone())
        record = self.bench.record
        self.assertTrue(self.call.stopped)
        self.assertEqual((record.usage.estimated if record.usage else None, record.error_code), (True, 4990))
        self.assertGreater(record.cost_nanousd or 0, 0)

    def test_stream_without_usage_is_estimated(self) -> None:
        """A whole stream whose provider told no usage has an estimate."""
        self.begin()
        self.call.events(CHUNK, b"[DONE]")
        self.call.complete()
        usage = self.bench.record.usage
        self.assertTrue(usage is not None and usage.estimated and usage.tokens_out > 0)


class HeldEndTests(SynchronousTestCase):
    """Replies whose last bytes would complete the answer before its record is safe."""

    def stream(self, *steps: Step, **bounds: int) -> tuple[Workbench, ListReply]:
        """A stream that has begun."""
        bench = Workbench(**bounds)
        _, reply = bench.asked(*steps, reply=ListReply(wants_whole=False, holds_end=True))
        bench.upstream.last.head(headers=EVENT_STREAM)
        return bench, reply

    def test_end_mark_waits(self) -> None:
        """Everything up to the end mark passes as it comes; the end mark, and what is behind it, waits for the log."""
        bench, reply = self.stream()
        bench.upstream.last.data(b"data: %b\n\n" % CHUNK, b"data: [DO", b"NE]\n\n", b": bye\n\n")
        bench.upstream.last.complete()
        self.assertEqual(reply.chunks, [b"data: %b\n\n" % CHUNK, b"data: [DO"])
        bench.sink.flush()
        self.assertEqual((reply.error_code, reply.outcome.tail), (0, b"NE]\n\n: bye\n\n"))

    def test_stream_without_end_mark_passes(self) -> None:
        """A stream of a family that has no end mark passes as it comes; it is not kept until its end."""
        bench, reply = self.stream(step("cartesia", "tts/sse"))
        bench.upstream.last.events(b"one", b"two")
        self.assertEqual(b"".join(reply.chunks), b"data: one\n\ndata: two\n\n")
        bench.upstream.last.complete()
        bench.sink.flush()
        self.assertEqual((reply.error_code, reply.outcome.tail), (0, b""))

    def test_endless_end(self) -> None:
        """A provider that goes on and on behind its end mark is left with code 4025."""
        bench, reply = self.stream(event_bytes=1024)
        bench.upstream.last.events(b"[DONE]")
        for _ in range(20):
            bench.upstream.last.data(b": %b\n\n" % (b"x" * 100))
        bench.sink.flush()
        self.assertEqual((reply.error_code, bench.upstream.last.stopped), (4025, True))


class FallbackTests(SynchronousTestCase):
    """Several steps: the next one is tried while nothing has reached the client."""

    def setUp(self) -> None:
        self.bench = Workbench()
        steps = (step(), step("groq"), step("mistral", "v1/chat/completions"))
        self.exchange, self.reply = self.bench.asked(*steps)

    def providers(self) -> list[str]:
        """Whom the log says that the exchange asked."""
        return [attempt.provider for attempt in self.bench.record.attempts]

    def test_next_step_after_an_error_status(self) -> None:
        """A step that answers with no success is left, and the next one answers as step 1."""
        self.bench.upstream.calls[0].head(500)
        self.assertTrue(self.bench.upstream.calls[0].stopped)
        self.bench.upstream.calls[1].answer(ANSWER)
        self.bench.sink.flush()
        self.assertEqual((self.reply.outcome.step, self.reply.outcome.body), (1, ANSWER))
        self.assertEqual((self.reply.outcome.head.step if self.reply.outcome.head else None), 1)
        record = self.bench.record
        self.assertEqual((record.step, record.target.provider, record.success), (1, "groq", True))
        self.assertEqual([(a.step, a.status, a.error_code) for a in record.attempts], [(0, 500, 0), (1, 200, 0)])
        self.assertEqual(len(self.bench.sink.begun), 1)

    def test_every_status_that_is_no_success(self) -> None:
        """Redirects, refusals and failures alike lead on."""
        for status in (300, 302, 400, 404, 429, 503):
            bench = Workbench()
            bench.asked(step(), step("groq"))
            bench.upstream.last.head(status)
            self.assertEqual(len(bench.upstream.calls), 2, status)

    def test_next_step_after_a_failure(self) -> None:
        """A step that gives no answer at all is followed by the next one."""
        self.bench.upstream.last.fail(FirstByteTimeout())
        self.bench.upstream.last.fail(ConnectTimeout())
        self.bench.upstream.last.answer(ANSWER)
        self.assertEqual(self.bench.record.step, 2)
        self.assertEqual([attempt.error_code for attempt in self.bench.record.attempts], [4021, 4020, 0])
        self.assertEqual(self.providers(), ["openai", "groq", "mistral"])

    def test_resends_are_noted(self) -> None:
        """The log tells which attempt needed a second connection, since the first was stale."""
        self.bench.upstream.last.resend()
        self.bench.upstream.last.fail(FirstByteTimeout())
        self.bench.upstream.last.answer(ANSWER)
        self.assertEqual([attempt.resends for attempt in self.bench.record.attempts], [1, 0])

    def test_whole_answer_that_breaks_off(self) -> None:
        """An answer that breaks off before it is whole has not reached the client: the next step answers."""
        self.bench.upstream.last.head()
        self.bench.upstream.last.data(ANSWER[:20])
        self.bench.upstream.last.fail(TruncatedStream())
        self.bench.upstream.last.answer(ANSWER)
        self.bench.sink.flush()
        self.assertEqual((self.reply.outcome.step, self.reply.outcome.body), (1, ANSWER))
        self.assertEqual(self.bench.record.response_body, ANSWER)
        self.assertEqual(self.bench.record.response_bytes, len(ANSWER))

    def test_whole_answer_that_is_cut(self) -> None:
        """JSON cut with its connection leads to the next step as well."""
        self.bench.upstream.last.answer(ANSWER[:20])
        self.bench.upstream.last.answer(ANSWER)
        self.assertEqual([attempt.error_code for attempt in self.bench.record.attempts], [4024, 0])

    def test_stream_that_breaks_off(self) -> None:
        """A stream that has begun is the answer; no other step repeats its text."""
        self.bench.upstream.last.head(headers=EVENT_STREAM)
        self.bench.upstream.last.fail(ConnectTimeout())
        self.bench.sink.flush()
        self.assertEqual((len(self.bench.upstream.calls), self.reply.error_code), (1, 4020))

    def test_last_error_comes_back(self) -> None:
        """When all steps fail, the client gets what the last one said."""
        self.bench.upstream.last.fail(ConnectTimeout())
        self.bench.upstream.last.head(500)
        self.bench.upstream.last.answer(b'{"error":"the last word"}', status=429)
        self.bench.sink.flush()
        self.assertEqual((self.reply.outcome.error, self.reply.outcome.body), (None, b'{"error":"the last word"}'))
        self.assertEqual((self.bench.record.status, self.bench.record.step), (429, 2))

    def test_last_failure_comes_back(self) -> None:
        """When the last step gives no answer, its failure is the error, and its step is told."""
        self.bench.upstream.last.head(500)
        self.bench.upstream.last.head(500)
        self.bench.upstream.last.fail(FirstByteTimeout())
        self.bench.sink.flush()
        self.assertEqual((self.reply.error_code, self.reply.outcome.step), (4021, 2))
        record = self.bench.record
        self.assertEqual((record.status, record.error_code, record.step), (504, 4021, 2))
        self.assertIsNone(record.response_body)

    def test_client_that_leaves_between_steps(self) -> None:
        """A client that leaves while the second step is asked stops that one, and no third is asked."""
        self.bench.upstream.last.head(500)
        self.exchange.abandon(ClientGone())
        self.assertTrue(self.bench.upstream.last.stopped)
        self.assertEqual(len(self.bench.upstream.calls), 2)
        self.assertEqual([a.error_code for a in self.bench.record.attempts], [0, 4990])

    def test_attempts_kept_are_bounded(self) -> None:
        """The row of a request with very many steps stays narrow."""
        bench = Workbench()
        bench.asked(*[step() for _ in range(ATTEMPTS_KEPT + 5)])
        while not bench.upstream.last.over:
            bench.upstream.last.fail(ConnectTimeout())
        self.assertEqual(len(bench.record.attempts), ATTEMPTS_KEPT)
        self.assertEqual(bench.record.step, ATTEMPTS_KEPT + 4)

    def test_one_bad_step_refuses_the_request(self) -> None:
        """A step that names no provider is found before anybody is asked."""
        bench = Workbench()
        _, reply = bench.open(step(), step("opnai"))
        bench.sink.flush()
        self.assertEqual((bench.upstream.calls, reply.error_code), ([], 2008))


class EndingTests(SynchronousTestCase):
    """Endings before, between and after the provider's words."""

    def setUp(self) -> None:
        self.bench = Workbench()

    def test_client_that_leaves_before_the_begin_is_safe(self) -> None:
        """A client that leaves at once has its row, and no provider hears of it."""
        exchange, reply = self.bench.open()
        exchange.abandon(ClientGone())
        self.bench.sink.flush()
        self.assertEqual(self.bench.upstream.calls, [])
        self.assertEqual((self.bench.record.error_code, self.bench.record.status), (4990, 499))
        self.assertEqual(self.bench.record.attempts, [])
        self.assertEqual(reply.error_code, 4990)

    def test_leaving_twice_is_once(self) -> None:
        """However often an exchange is ended, it ends once."""
        exchange, reply = self.bench.asked()
        for _ in range(3):
            exchange.abandon(ClientGone())
            self.bench.sink.flush()
        self.bench.upstream.last.answer(ANSWER)
        self.assertEqual((len(self.bench.sink.ended), len(reply.outcomes)), (1, 1))

    def test_leaving_while_the_record_is_written(self) -> None:
        """A client that leaves while its answer waits for the log changes nothing about it."""
        exchange, _ = self.bench.asked()
        self.bench.upstream.last.answer(ANSWER)
        exchange.abandon(ClientGone())
        self.bench.sink.flush()
        self.assertEqual((self.bench.record.success, self.bench.record.error_code), (True, 0))

    def test_full_spool(self) -> None:
        """What could not be logged is not asked: code 4011, at once and without a record."""
        self.bench.sink.accepting = False
        _, reply = self.bench.open()
        self.assertEqual((reply.error_code, self.bench.upstream.calls, self.bench.sink.ended), (4011, [], []))
        self.assertEqual(self.bench.dispatcher.in_flight, 0)
        self.assertEqual((self.bench.meter.opened_count, self.bench.meter.records[0].error_code), (1, 4011))

    def test_refused_request_is_logged(self) -> None:
        """A request that cannot be served has a BEGIN, an END and an error of its own."""
        _, reply = self.bench.open(step("opnai"))
        self.assertEqual(reply.outcomes, [])
        self.bench.sink.flush()
        self.assertEqual((reply.error_code, len(self.bench.sink.ended)), (2008, 1))
        record = self.bench.record
        self.assertEqual((record.status, record.error_code, record.success), (400, 2008, False))
        self.assertEqual((record.target.provider, record.target.path), ("opnai", "chat/completions"))
        self.assertIn("openai", record.error)

    def test_refusal_of_the_wire_is_logged(self) -> None:
        """A message that was no request has a row without a provider."""
        _, reply = self.bench.open(refusal=Draining())
        self.bench.sink.flush()
        self.assertEqual((reply.error_code, self.bench.record.target.provider), (4010, "none"))

    def test_draining_refuses_new_requests(self) -> None:
        """A gateway that is about to stop takes nothing new, and says that it may be tried again."""
        self.bench.dispatcher.draining = True
        _, reply = self.bench.open()
        self.bench.sink.flush()
        self.assertEqual((reply.error_code, self.bench.upstream.calls), (4010, []))
        self.assertTrue(reply.outcome.error is not None and reply.outcome.error.retryable)

    def test_drain_waits_and_then_ends_what_runs(self) -> None:
        """Draining waits for what runs; what takes too long is ended with code 4992."""
        _, first = self.bench.asked()
        _, second = self.bench.asked()
        idle = self.bench.dispatcher.when_idle()
        self.bench.upstream.calls[0].answer(ANSWER)
        self.bench.sink.flush()
        self.assertNoResult(idle)
        self.bench.dispatcher.abandon_all()
        self.assertTrue(self.bench.upstream.calls[1].stopped)
        self.assertNoResult(idle)
        self.bench.sink.flush()
        self.successResultOf(idle)
        self.assertEqual((first.error_code, second.error_code), (0, Drained.code))
        self.successResultOf(self.bench.dispatcher.when_idle())

    def test_waiting_for_idle_can_be_given_up(self) -> None:
        """A drain whose time is over waits no longer, and the exchange ends in peace."""
        self.bench.asked()
        idle = self.bench.dispatcher.when_idle()
        idle.addErrback(lambda _: None)
        idle.cancel()
        self.bench.upstream.last.answer(ANSWER)
        self.bench.sink.flush()
        self.assertEqual(self.bench.dispatcher.in_flight, 0)

    def test_upstream_that_raises(self) -> None:
        """A defect where requests are sent ends the exchange with code 4999 and a row."""

        class Broken:
            def send(self, request: object, receiver: object) -> object:
                raise ZeroDivisionError("a defect")

        self.bench.dispatcher._parts = attrs.evolve(self.bench.dispatcher._parts, upstream=Broken())
        _, reply = self.bench.asked()
        self.assertEqual((reply.error_code, self.bench.record.error_code), (4999, 4999))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_reply_that_raises(self) -> None:
        """A defect in the last message of one exchange does not keep the others from theirs."""

        class Broken(ListReply):
            def finish(self, outcome: object) -> None:
                raise ZeroDivisionError("a defect")

        self.bench.asked(reply=Broken())
        self.bench.upstream.last.answer(ANSWER)
        self.bench.sink.flush()
        self.assertEqual(self.bench.dispatcher.in_flight, 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class PauseTests(SynchronousTestCase):
    """A client that reads slowly."""

    def test_pause_and_resume_reach_the_provider(self) -> None:
        """The provider stops and goes on with its client, also on the next step."""
        bench = Workbench()
        exchange, _ = bench.asked(step(), step("groq"))
        exchange.pause()
        self.assertTrue(bench.upstream.last.paused)
        bench.upstream.last.fail(ConnectTimeout())
        self.assertTrue(bench.upstream.last.paused)
        exchange.resume()
        self.assertFalse(bench.upstream.last.paused)

    def test_pause_before_the_provider_is_asked(self) -> None:
        """A request of a client that reads nothing begins with a provider that waits."""
        bench = Workbench()
        exchange, _ = bench.open()
        exchange.pause()
        bench.sink.flush()
        self.assertTrue(bench.upstream.last.paused)

    def test_pause_after_the_end(self) -> None:
        """Pausing and resuming an exchange that is over does nothing."""
        bench = Workbench()
        exchange, _ = bench.asked()
        bench.upstream.last.answer(ANSWER)
        bench.sink.flush()
        exchange.pause()
        exchange.resume()
        exchange.abandon(ClientGone())
        self.assertEqual(len(bench.sink.ended), 1)


class BodiesTests(SynchronousTestCase):
    """What the log keeps of the bodies."""

    def test_long_bodies_are_cut(self) -> None:
        """Bodies beyond the bound are cut and marked; their true lengths are told."""
        bench = Workbench(log_body_bytes=10)
        bench.asked()
        bench.upstream.last.head()
        bench.upstream.last.data(b'{"a":', b'"bcdefghij"}')
        bench.upstream.last.complete()
        record = bench.record
        self.assertEqual((record.request_body, record.response_body), (CHAT[:10], b'{"a":"bcde'))
        self.assertEqual((record.request_cut, record.response_cut), (True, True))
        self.assertEqual((record.target.request_bytes, record.response_bytes), (len(CHAT), 17))

    def test_bodies_that_fit_are_whole(self) -> None:
        """Bodies of exactly the bound are not cut."""
        bench = Workbench(log_body_bytes=len(CHAT))
        bench.asked()
        bench.upstream.last.answer(b'"' + b"x" * (len(CHAT) - 2) + b'"')
        self.assertEqual((bench.record.request_cut, bench.record.response_cut), (False, False))

    def test_stream_is_kept_as_it_came(self) -> None:
        """Of a stream the log keeps the provider's bytes."""
        bench = Workbench()
        bench.asked()
        bench.upstream.last.head(headers=EVENT_STREAM)
        bench.upstream.last.events(CHUNK, b"[DONE]")
        bench.upstream.last.complete()
        self.assertEqual(bench.record.response_body, b"data: %b\n\ndata: [DONE]\n\n" % CHUNK)

    def test_payload_switched_off(self) -> None:
        """With the payload switched off the row has no bodies, and does not call them cut."""
        bench = Workbench(log_body_bytes=1)
        bench.asked(step(collect_log_payload="false"))
        bench.upstream.last.answer(ANSWER)
        record = bench.record
        self.assertEqual((record.request_body, record.response_body), (None, None))
        self.assertEqual((record.request_cut, record.response_cut), (False, False))
        self.assertEqual(record.usage, Usage(10, 5))

    def test_log_switched_off(self) -> None:
        """With the log switched off the exchange is still recorded, for the counts alone."""
        bench = Workbench()
        bench.asked(gateway=Gateway(id="default", authentication=False, collect_logs=False))
        bench.upstream.last.answer(ANSWER)
        self.assertEqual((bench.record.origin.collect, bench.record.request_body), (False, None))
        self.assertEqual(bench.record.usage, Usage(10, 5))


class CodedAnswerTests(SynchronousTestCase):
    """Answers that come compressed though nobody asked for it."""

    def coded(self, coding: bytes, content_type: bytes = b"application/json") -> tuple[tuple[bytes, bytes], ...]:
        """The headers of such an answer."""
        return ((b"content-type", content_type), (b"content-encoding", coding), (b"content-length", b"7"))

    def test_whole_answer_is_decoded(self) -> None:
        """The client and the log get the JSON itself, and its usage is read."""
        for coding, data in ((b"gzip", gzip.compress(ANSWER)), (b"deflate", zlib.compress(ANSWER))):
            bench = Workbench()
            _, reply = bench.asked()
            bench.upstream.last.head(headers=self.coded(coding))
            bench.upstream.last.data(*(data[at : at + 1] for at in range(len(data))))
            bench.upstream.last.complete()
            bench.sink.flush()
            self.assertEqual((reply.outcome.body, bench.record.response_body), (ANSWER, ANSWER))
            self.assertEqual(bench.record.usage, Usage(10, 5))
            self.assertEqual(reply.outcome.head.headers if reply.outcome.head else None, JSON)

    def test_stream_is_decoded_as_it_comes(self) -> None:
        """Events of a compressed stream reach the client as soon as the provider has flushed them."""
        bench = Workbench()
        _, reply = bench.asked()
        bench.upstream.last.head(headers=self.coded(b"gzip", b"text/event-stream"))
        packer = zlib.compressobj(wbits=31)
        bench.upstream.last.data(packer.compress(b"data: %b\n\n" % CHUNK) + packer.flush(zlib.Z_SYNC_FLUSH))
        self.assertEqual([event.data for event in reply.events], [CHUNK])
        bench.upstream.last.data(packer.compress(b"data: [DONE]\n\n") + packer.flush())
        bench.upstream.last.complete()
        bench.sink.flush()
        self.assertEqual(reply.error_code, 0)

    def test_unknown_coding(self) -> None:
        """A coding that is not understood is an answer that cannot be used: code 4026, and the next step."""
        bench = Workbench()
        _, reply = bench.asked(step(), step("groq"))
        bench.upstream.last.head(headers=self.coded(b"br"))
        self.assertTrue(bench.upstream.calls[0].stopped)
        bench.upstream.last.head(headers=self.coded(b"gzip, gzip"))
        bench.sink.flush()
        self.assertEqual(reply.error_code, 4026)
        self.assertEqual([(a.status, a.error_code) for a in bench.record.attempts], [(200, 4026), (200, 4026)])

    def test_bomb(self) -> None:
        """A few bytes that would become gigabytes end with code 4025, and the provider is left."""
        packer = zlib.compressobj(9, wbits=31)
        bomb = b"".join(packer.compress(b"\0" * 1_000_000) for _ in range(64))
        for content_type in (b"application/json", b"text/event-stream"):
            bench = Workbench(response_bytes=1_000_000, event_bytes=1_000_000)
            _, reply = bench.asked()
            bench.upstream.last.head(headers=self.coded(b"gzip", content_type))
            bench.upstream.last.data(bomb)
            bench.sink.flush()
            self.assertEqual((reply.error_code, bench.upstream.last.stopped), (4025, True))

    def test_damaged_or_cut_coding(self) -> None:
        """Bytes that are not what the coding says, and a coded body that is cut, are failures."""
        data = gzip.compress(ANSWER)
        for body, code in ((b"nonsense", 4026), (data[:-9], 4024), (data[:-1], 4024)):
            bench = Workbench()
            _, reply = bench.asked()
            bench.upstream.last.answer(body, headers=self.coded(b"gzip"))
            bench.sink.flush()
            self.assertEqual(reply.error_code, code)

    def test_route_that_passes_bytes_on_gets_them_as_they_came(self) -> None:
        """Where bytes are passed on, coded ones are passed on coded."""
        bench = Workbench()
        _, reply = bench.asked(reply=ListReply(wants_whole=False))
        data = gzip.compress(ANSWER)
        bench.upstream.last.answer(data, headers=self.coded(b"gzip"))
        self.assertEqual((b"".join(reply.chunks), reply.heads[0].headers), (data, self.coded(b"gzip")))
        bench.sink.flush()
        # The log has what people can read.
        self.assertEqual((bench.record.response_body, bench.record.response_bytes), (ANSWER, len(data)))
        self.assertFalse(bench.record.response_cut)

    def test_cut_copy(self) -> None:
        """Of a coded answer that is longer than the log keeps, what can be read of its beginning is kept."""
        bench = Workbench(log_body_bytes=20)
        bench.asked(reply=ListReply(wants_whole=False))
        data = gzip.compress(ANSWER)
        bench.upstream.last.answer(data, headers=self.coded(b"gzip"))
        bench.sink.flush()
        self.assertTrue(bench.record.response_cut)
        self.assertTrue(bench.record.response_body)
        self.assertTrue(ANSWER.startswith(bench.record.response_body or b"-"))


class FramedBodyTests(SynchronousTestCase):
    """Whole answers whose framing says where they end."""

    def test_what_is_no_single_value(self) -> None:
        """An answer of the promised length is complete, whatever its bytes: lines of JSON, or JSON that is none."""
        for content_type, body in (
            (b"application/x-ndjson", b'{"a":1}\n{"a":2}\n'),
            (b"application/json", b'{"a":1}\n{"a":2}\n'),
            (b"application/json", b'{"logprob":-Infinity}'),
        ):
            bench = Workbench()
            _, reply = bench.asked()
            length = b"%d" % len(body)
            bench.upstream.last.answer(body, 200, ((b"content-type", content_type), (b"content-length", length)))
            bench.sink.flush()
            self.assertEqual((reply.outcome.error, reply.outcome.body), (None, body))
            self.assertTrue(bench.record.complete)

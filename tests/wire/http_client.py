"""An HTTP client of bytes, for a data port in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import attrs
import httptools
from twisted.trial.unittest import SynchronousTestCase

from aigw.serving.limits import HttpLimits, SocketLimits
from aigw.testing.data_port import TOKEN, MemoryDataPort
from aigw.testing.socket import Link, RawClient
from aigw.testing.upstream import ScriptedCall
from aigw.values.gateway import Gateway
from aigw.wire.http_routes import FrontSettings

CLOSED = Gateway(id="default")
OPEN = Gateway(id="open", authentication=False)
FRONT = FrontSettings(request_body_bytes=4_096, heartbeat_s=10.0)
CHAT = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "caf\xc3\xa9"}]}'


@attrs.define
class Answer:
    """
    Attributes:
        status: HTTP status.
        fields: In order, names in lower case.
        body: As far as it came, the chunked coding removed.
        whole: Whether it came to its end as its framing promised.
    """

    status: int = 0
    fields: list[tuple[str, str]] = attrs.field(factory=list)
    body: bytes = b""
    whole: bool = False

    def header(self, name: str) -> str | None:
        """The value of a field that may stand once."""
        values = [value for field, value in self.fields if field == name]
        if len(values) > 1:
            raise AssertionError(f"{name} stands {len(values)} times")
        return values[0] if values else None

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class _Reader:
    """Gathers answers from httptools, a parser that is not the server's own."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self.answers.append(Answer())

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answers[-1].fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.answers[-1].status = self.parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self.answers[-1].body += piece

    def on_message_complete(self) -> None:
        self.answers[-1].whole = True


def read_answers(data: bytes) -> list[Answer]:
    """Every answer in what a server sent, the last one perhaps not whole; `100 Continue` is none."""
    reader = _Reader()
    reader.parser.feed_data(data)
    return [answer for answer in reader.answers if answer.status != 100]


def request_bytes(
    path: str,
    body: bytes | None = CHAT,
    headers: Iterable[tuple[str, str]] = (),
    method: str = "POST",
    content_type: str | None = "application/json",
) -> bytes:
    """A request with a Content-Length, unless there is no body at all."""
    fields = [("Host", "gateway.test"), *headers]
    if body is not None:
        fields.append(("Content-Length", str(len(body))))
        if content_type is not None:
            fields.append(("Content-Type", content_type))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class HttpCase(SynchronousTestCase):
    """A data port with a gateway `default` that wants a token and an `open` one."""

    front = FRONT
    http: HttpLimits | None = None
    sockets: SocketLimits | None = None

    def setUp(self) -> None:
        self.port = MemoryDataPort(gateways=(CLOSED, OPEN), front=self.front, http=self.http, sockets=self.sockets)

    def send(self, data: bytes) -> tuple[Link, RawClient]:
        """Send bytes over a connection of its own."""
        return self.port.connect_raw(data)

    def ask(self, path: str = "/v1/local/open/openai/chat/completions", **request: Any) -> tuple[Link, RawClient]:
        """Send a request over a connection of its own; see `request_bytes`."""
        return self.send(request_bytes(path, **request))

    def answer(self, client: RawClient) -> Answer:
        """The only answer that a client got."""
        (answer,) = read_answers(client.received)
        return answer

    def answered(self, path: str = "/v1/local/open/openai/chat/completions", **request: Any) -> Answer:
        """Send a request, let the provider say `{}`, and give the answer."""
        before = len(self.port.upstream.calls)
        link, client = self.ask(path, **request)
        if len(self.port.upstream.calls) > before:
            self.call.answer(b"{}")
            link.settle()
        return self.answer(client)

    @property
    def call(self) -> ScriptedCall:
        """The latest call to a provider."""
        return self.port.upstream.last

    def sent_headers(self) -> dict[bytes, bytes]:
        """What the latest call sent to its provider."""
        return dict(self.call.request.headers)

    def assert_refused(self, answer: Answer, status: int, code: int) -> None:
        """The answer is this error of the gateway, in the body that Cloudflare's clients know."""
        self.assertEqual((answer.status, answer.json["internalCode"]), (status, code), answer.body)
        self.assertEqual(answer.header("content-type"), "application/json")
        body = answer.json
        self.assertEqual((body["success"], body["error"][0]["code"], body["httpCode"]), (False, code, status))
        self.assertTrue(answer.whole)

    def assert_no_leftovers(self) -> None:
        """No exchange, reply or call is left over, and everything that was begun has its record."""
        self.assertEqual(self.port.port.http.running, set())
        self.assertEqual(self.port.upstream.running, [])
        sink = self.port.sink
        self.assertEqual(len(sink.begun) + len(sink.alone_ids), len(sink.ended))
        self.assertEqual(self.flushLoggedErrors(), [])


__all__ = ["CHAT", "CLOSED", "FRONT", "OPEN", "TOKEN", "Answer", "HttpCase", "read_answers", "request_bytes"]

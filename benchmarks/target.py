"""What a load driver is pointed at: a gateway's address, and how a request for it is worded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.load import DRIVER, NUMBER, Plan
from benchmarks.stub import MODEL

# Of the whole prompt, the number included.
PROMPT_CHARS = 170


@dataclass(frozen=True)
class Target:
    """
    One front of one gateway.

    Attributes:
        name: In the table.
        pid: Root of the tree of processes whose CPU counts.
        plan: For a whole answer, 32 in flight.
        stream_plan: The same for a stream.
    """

    name: str
    pid: int
    plan: Plan
    stream_plan: Plan

    def plan_for(self, stream: bool, in_flight: int) -> Plan:
        """The plan of a scenario."""
        return replace(self.stream_plan if stream else self.plan, in_flight=in_flight)


@dataclass(frozen=True)
class HttpFront:
    """
    A chat completion over HTTP.

    Attributes:
        host, port, path: Where.
        headers: Beside the provider's key.
        model: As this gateway calls it.
    """

    host: str
    port: int
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    model: str = MODEL

    def target(self, name: str, pid: int) -> Target:
        """As a target."""
        whole, stream = (self._plan(chat(self.model, stream), stream) for stream in (False, True))
        return Target(name, pid, whole, stream)

    def _plan(self, body: Any, stream: bool) -> Plan:
        headers = {"Authorization": "Bearer sk-fake", **self.headers}
        return Plan("http", self.host, self.port, self.path, headers, json.dumps(body), stream)


def chat(model: str, stream: bool) -> dict[str, Any]:
    """The question, with its number first, so that caches cannot know it."""
    prompt = f"{NUMBER} {DRIVER} tell me about tides. "
    prompt += "y" * (PROMPT_CHARS - len(prompt))
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body

"""
The internal API, spoken over the control socket by the `aigw` command.

| call | answer |
|---|---|
| GET /v1/about | version, process, addresses, gateways |
| GET /v1/doctor | the server's own checks |
| GET /v1/gateways | all gateways |
| POST /v1/gateways | a new gateway |
| GET, PUT, PATCH, DELETE /v1/gateways/{name}?account= | one gateway; PUT replaces all fields, PATCH some |
| GET /v1/logs?limit=&before=&... | newest logs first; filters: `aigw.management.log_calls.filters_of` |
| GET /v1/logs/{id} | one log with its bodies |
| GET /v1/policies?account=&gateway=&includeStaging= | a gateway's policies |
| POST /v1/policies?commit= | a new draft, or a policy in force |
| GET, PUT, DELETE /v1/policies/{id} | one policy |
| POST /v1/policies/commit | puts all drafts in force |
| POST /v1/policies/simulate | what would come of a request |
| POST /v1/spools | takes in spools from a folder; how many |
| GET /v1/teams | all teams |
| POST /v1/teams | a new team |
| GET, PUT, DELETE /v1/teams/{name}?account= | one team; DELETE takes `force=true` while it has tokens |
| GET /v1/tokens | all tokens, without their texts |
| POST /v1/tokens | a new token, with its text |
| DELETE /v1/tokens/{id} | the token, revoked |

Every answer is a JSON object; a refusal is `{"error": {"code", "message"}}`. Whoever may open the socket may do all of
this: its mode is the authentication.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

import attrs
import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from aigw.errors import StorageUnavailable
from aigw.management.call import Call, Refused
from aigw.management.gateway_calls import GatewayCalls
from aigw.management.log_calls import LogCalls
from aigw.management.policy_calls import PolicyCalls
from aigw.management.spool_calls import SpoolCalls
from aigw.management.team_calls import TeamCalls
from aigw.management.token_calls import TokenCalls
from aigw.serving.http import answer_json

Handler = Callable[[Call], Awaitable[object]]

_DATABASE_AWAY = Refused(503, "database", "The database cannot be reached; logs are kept in the spool until it is back")
_DEFECT = Refused(500, "internal", "The gateway failed to answer; its own log says why")


@attrs.frozen
class Management:
    """
    What the internal API stands on.

    Attributes:
        tokens, logs, spools: See there.
        about: Who this process is, as something that JSON can hold.
        doctor: Runs the server's own checks.
        policies: See there; None where nobody keeps policies.
        teams: See there; None where nobody keeps teams.
        gateways: See there; None where nobody changes gateways.
    """

    tokens: TokenCalls
    logs: LogCalls
    spools: SpoolCalls
    about: Callable[[], object]
    doctor: Callable[[], Awaitable[object]]
    policies: PolicyCalls | None = None
    teams: TeamCalls | None = None
    gateways: GatewayCalls | None = None

    def routes(self) -> dict[tuple[str, ...], dict[bytes, Handler]]:
        """Handlers by method, by the segments of the address below `/v1`; `*` takes any name."""
        return {
            ("about",): {b"GET": self._about},
            ("doctor",): {b"GET": self._doctor},
            ("logs",): {b"GET": self.logs.list},
            ("logs", "*"): {b"GET": self.logs.show},
            ("spools",): {b"POST": self.spools.adopt},
            ("tokens",): {b"GET": self.tokens.list, b"POST": self.tokens.create},
            ("tokens", "*"): {b"DELETE": self.tokens.revoke},
            **(self.gateways.routes() if self.gateways is not None else {}),
            **(self.teams.routes() if self.teams is not None else {}),
            **(self.policies.routes() if self.policies is not None else {}),
        }

    async def _about(self, call: Call) -> object:
        return self.about()

    async def _doctor(self, call: Call) -> object:
        return {"checks": await self.doctor()}


class InternalAPI(Resource):
    """
    Routes requests to handlers and their results back.

    Args:
        management: The handlers.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, management: Management) -> None:
        super().__init__()
        self._routes = management.routes()

    def render(self, request: Request) -> int:
        """Start the handler; it is cancelled when the caller leaves."""
        try:
            handler, call = self._find(request)
        except Refused as refusal:
            return answer_json(request, *_refusal_body(refusal))
        work = Deferred.fromCoroutine(_run(handler, call)).addErrback(self._refusal)
        request.notifyFinish().addErrback(lambda _: work.cancel())
        work.addCallback(lambda answer: _deliver(request, *answer))
        return NOT_DONE_YET

    def _find(self, request: Request) -> tuple[Handler, Call]:
        path, _, query = request.uri.decode("ascii", "replace").partition("?")
        version, *segments = (unquote(segment) for segment in path.strip("/").split("/"))
        name = ""
        methods = self._routes.get(tuple(segments))
        if methods is None and segments:
            *above, name = segments
            methods = self._routes.get((*above, "*"))
        if version != "v1" or methods is None:
            raise Refused(404, "no-such-address", f"There is nothing at {path}")
        handler = methods.get(request.method)
        if handler is None:
            request.setHeader(b"allow", b", ".join(methods))
            raise Refused(405, "method", f"{path} takes {' and '.join(method.decode() for method in methods)}")
        # An empty value is one, too: without it, `metadata.key=` would ask for all logs.
        values = dict(parse_qsl(query, keep_blank_values=True))
        return handler, Call(name, values, request.content.read() if request.content else b"")

    def _refusal(self, failure: Failure) -> tuple[int, bytes]:
        error: Any = failure.value
        if isinstance(error, StorageUnavailable):
            error = _DATABASE_AWAY
        elif not isinstance(error, Refused):
            if not isinstance(error, CancelledError):
                self._log.failure("A call of the internal API failed", failure)
            error = _DEFECT
        return _refusal_body(error)


async def _run(handler: Handler, call: Call) -> tuple[int, bytes]:
    return 200, msgspec.json.encode(await handler(call))


def _refusal_body(refusal: Refused) -> tuple[int, bytes]:
    return refusal.status, msgspec.json.encode({"error": {"code": refusal.code, "message": str(refusal)}})


def _deliver(request: Request, status: int, body: bytes) -> None:
    # The caller may have left meanwhile, and a request without a channel cannot be finished.
    if request.channel is not None:
        answer_json(request, status, body)

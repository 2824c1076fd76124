"""
The closed tree of failures: what each promise is called when it breaks.

Every failure that a client may see is a `GatewayError`. Its class carries the wire code, the HTTP status, whether the
same request may be tried again as it is, and a text that is safe to show. Codes up to 2099 are Cloudflare's own; codes
from 4000 are ours, for endings that Cloudflare's pages leave open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class AigwError(Exception):
    """The root: everything that aigw raises on purpose."""


class ConfigurationError(AigwError):
    """
    The operator's settings cannot be used.

    Args:
        problems: One text a mistake, each naming its key path.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StorageUnavailable(AigwError):
    """The database gave no answer in time, or there is none."""


class StatementTooSlow(StorageUnavailable):
    """The server gave a statement up, since it took longer than it may."""


class StateUnavailable(AigwError):
    """The store of counters or of cached answers gave no answer in time."""


class PostgresNotStarted(AigwError):
    """The embedded PostgreSQL cannot be started; the text says what to do."""


class SchemaTooNew(AigwError):
    """The database was migrated by a newer release than this one."""


class SchemaChanged(AigwError):
    """A migration that was applied earlier has another text than the one in this release."""


class GatewayError(AigwError):
    """
    A failure that ends an exchange or refuses a request.

    Args:
        detail: What to tell the client beyond the class's own text; holds no secret and no prompt.
    """

    code: ClassVar[int] = 4999
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    text: ClassVar[str] = "Internal error"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.text)
        self.detail = detail
        # Of the answer that tells it, such as `retry-after`; names in lower case.
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        # Of the answer that tells it, where Cloudflare words this one otherwise than all others.
        self.body: Mapping[str, object] | None = None

    @property
    def message(self) -> str:
        """The text for the client."""
        return f"{self.text}: {self.detail}" if self.detail else self.text


class InternalError(GatewayError):
    """A defect of the gateway itself."""

    code, status, retryable, text = 4999, 500, True, "Internal error of the gateway"


# Who calls, and which gateway -----------------------------------------------------------------------------------------


class GatewayUnknown(GatewayError):
    """The address names no gateway of this server."""

    code, status, text = 2001, 400, "Please configure AI Gateway: there is no such gateway here"


class GatewaysUnread(GatewayError):
    """The server has just been started for the first time, and has not heard yet which gateways there are."""

    code, status, retryable, text = 4067, 503, True, "The gateways are still being read; try again"


class InvalidProvider(GatewayError):
    """The request names no provider of the table."""

    code, status, text = 2008, 400, "Invalid provider"


class Unauthorized(GatewayError):
    """The gateway wants a token, and there was none or a wrong one."""

    code, status, text = 2009, 401, "Unauthorized"


class OriginRefused(GatewayError):
    """A browser's page is not among the allowed origins."""

    code, status, text = 4030, 403, "Origin not allowed"


# What the client sent -------------------------------------------------------------------------------------------------


class MalformedRequest(GatewayError):
    """The message or body is no request that can be read."""

    code, status, text = 4000, 400, "Malformed request"


class UnknownMessageType(MalformedRequest):
    """The message's `type` is none that a client may send."""

    code, text = 4001, "Unknown message type"


class MissingField(MalformedRequest):
    """A field that every request needs is not there."""

    code, text = 4002, "Missing field"


class InvalidField(MalformedRequest):
    """A field has a value that it cannot have."""

    code, text = 4003, "Invalid field"


class RequestTooLarge(GatewayError):
    """The message or body is larger than the owner allows."""

    code, status, text = 4004, 413, "Request too large"


class DuplicateEventId(GatewayError):
    """Another request with this event id is still running on this socket."""

    code, status, text = 4005, 409, "This event id is already in flight on this connection"


class TooManyInFlight(GatewayError):
    """The socket runs as many requests as it may."""

    code, status, retryable, text = 4006, 429, True, "Too many requests in flight on this connection"


class TooManyConnections(GatewayError):
    """The server has as many sockets as it may."""

    code, status, retryable, text = 4007, 503, True, "Too many connections"


class NotFound(GatewayError):
    """Nothing lives at this address."""

    code, status, text = 4040, 404, "Not found"


class MethodNotAllowed(GatewayError):
    """The address does not take this HTTP method."""

    code, status, text = 4050, 405, "Method not allowed"


class UpgradeRequired(GatewayError):
    """The address speaks WebSocket only."""

    code, status, text = 4260, 426, "This address speaks WebSocket"


# What the owner allows ------------------------------------------------------------------------------------------------


class RateLimited(GatewayError):
    """More was asked than the owner allows in this time."""

    code, status, retryable, text = 2003, 429, True, "Rate limited"


class SpendLimitExceeded(GatewayError):
    """The owner's budget for this time is spent."""

    code, status, retryable, text = 2045, 429, False, "Spend limit exceeded"


class UnpricedModel(GatewayError):
    """A spend limit holds for the request, and nobody knows what the model costs."""

    code, status, text = 4061, 403, "The model has no known price, and the owner refuses such models"


class PolicyDenied(GatewayError):
    """One of the owner's policies blocks the request, or none allows it."""

    code, status, text = 4062, 403, "Access denied by policy"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        # The detail names the policy: that is for the owner's log alone.
        self.body = {"success": False, "error": {"message": self.text}}


class PolicyLimitExceeded(SpendLimitExceeded):
    """The budget that a policy gives is spent."""

    code, text = 4066, "Spending limit exceeded"

    def __init__(self, bucket: str, spent: float, limit: float) -> None:
        """
        Args:
            bucket: Name of what is charged together.
            spent, limit: US dollars.
        """
        super().__init__(f"bucket `{bucket}`")
        error = {"message": self.text, "bucket": bucket, "spent": spent, "limit": limit}
        self.body = {"success": False, "error": error}


class NotAllowed(GatewayError):
    """The token or the team may not use this model or provider."""

    code, status, text = 4063, 403, "The token may not ask for this"


class ControlUnavailable(GatewayError):
    """A limit cannot be held to, because its counters cannot be reached; the owner chose to refuse then."""

    code, status, retryable, text = 4064, 503, True, "A limit cannot be checked now"


class IdentityNotReady(GatewayError):
    """The key that signed an identity token is being fetched."""

    code, status, retryable, text = 4065, 503, True, "The identity provider's keys are being fetched; try again"


# The gateway cannot take it now ---------------------------------------------------------------------------------------


class Draining(GatewayError):
    """The server is about to stop and takes no new request."""

    code, status, retryable, text = 4010, 503, True, "The gateway is stopping; connect again"


class SpoolFull(GatewayError):
    """A log could not be made safe, so the request was not made."""

    code, status, retryable, text = (
        4011,
        503,
        True,
        "The log spool is full; no request is made that could not be logged",
    )


# What the provider did ------------------------------------------------------------------------------------------------


class ProviderFailed(GatewayError):
    """The provider gave no usable answer."""

    code, status, retryable, text = 2005, 400, True, "Failed to get response from provider"


class ConnectFailed(ProviderFailed):
    """No connection to the provider could be made: refused, no such name, or its certificate is wrong."""


class ConnectTimeout(ProviderFailed):
    """The connection to the provider was not made in time."""

    code, status, text = 4020, 504, "The connection to the provider timed out"


class FirstByteTimeout(ProviderFailed):
    """The provider did not begin its answer in time."""

    code, status, text = 4021, 504, "The provider did not begin its answer in time"


class IdleTimeout(ProviderFailed):
    """The provider fell silent in the middle of its answer."""

    code, status, text = 4022, 504, "The provider fell silent in the middle of its answer"


class TotalTimeout(ProviderFailed):
    """The whole answer took longer than allowed."""

    code, status, text = 4023, 504, "The provider's answer took longer than allowed"


class TruncatedStream(ProviderFailed):
    """The provider's stream or body ended before its own end mark."""

    code, status, text = 4024, 502, "The provider's answer ended before it was complete"


class ResponseTooLarge(ProviderFailed):
    """The provider's answer, or one event of it, is larger than can be held."""

    code, status, retryable, text = 4025, 502, False, "The provider's answer is larger than the gateway takes"


class InvalidAnswer(ProviderFailed):
    """What came back from the provider's address is no HTTP."""

    code, status, text = 4026, 502, "The provider's answer could not be understood"


class ProviderQueueFull(ProviderFailed):
    """As many requests as may wait for a free connection to the provider do so already."""

    code, status, text = 4027, 503, "Too many requests wait for a free connection to the provider"


class UpgradeRefused(ProviderFailed):
    """The provider gave another answer than a WebSocket."""

    code, status, retryable, text = 4028, 502, False, "The provider refused the WebSocket"


class SessionClosed(ProviderFailed):
    """The provider closed a realtime session, and not because it was over."""

    code, status, text = 4029, 502, "The provider closed the session"


# Beside others who wait for the same answer ---------------------------------------------------------------------------


class FellBehind(GatewayError):
    """A call that identical requests share went on without this one, whose client reads far too slowly."""

    code, status, retryable, text = 4031, 503, True, "The client fell too far behind the others who share this answer"


# Endings that only the log sees ---------------------------------------------------------------------------------------


class ClientGone(GatewayError):
    """The client left before its answer was complete."""

    code, status, text = 4990, 499, "The client left"


class Interrupted(GatewayError):
    """The gateway's process died while the exchange ran."""

    code, status, retryable, text = 4991, 500, True, "The gateway was stopped in the middle of the exchange"


class Drained(GatewayError):
    """The gateway stopped before the exchange was complete."""

    code, status, retryable, text = 4992, 503, True, "The gateway stopped before the answer was complete"

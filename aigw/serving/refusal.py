"""How a failure of the gateway itself looks on the wire."""

from __future__ import annotations

from typing import Any

import msgspec

from aigw.errors import GatewayError

_ENCODE = msgspec.json.Encoder().encode


def error_body(error: GatewayError) -> bytes:
    """
    The JSON body of a gateway error, as Cloudflare's inference host words it.

    `error` is an array (npm provider), `message` stands at the top (other SDKs), and `retryable` is ours.

    Args:
        error: Its texts are public. It may bring a body of its own.
    """
    if error.body is not None:
        return _ENCODE(error.body)
    message = error.message
    body: dict[str, Any] = {
        "success": False,
        "result": [],
        "messages": [],
        "error": [{"code": error.code, "message": message}],
        "name": "AiGatewayError",
        "httpCode": error.status,
        "internalCode": error.code,
        "message": message,
        "description": (type(error).__doc__ or message).strip().partition("\n")[0],
        "retryable": error.retryable,
    }
    return _ENCODE(body)

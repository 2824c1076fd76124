"""Stage 1: who calls, and with what credential."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from aigw.values.limits import Bounds

# Browsers cannot set headers on a WebSocket, so they offer the token as a subprotocol with this prefix.
SUBPROTOCOL_PREFIX = "cf-aig-authorization."


@attrs.frozen
class Bound:
    """
    Attributes:
        holder: `token:<id>` or `team:<account>/<name>`; counters are kept under it.
        bounds: See there.
    """

    holder: str
    bounds: Bounds


@attrs.frozen
class Caller:
    """
    Who makes a request.

    Attributes:
        token_id: Public id of the token; empty for an anonymous caller of an open gateway, and for a person who came
            with nothing but an identity token.
        authenticated: Whether a valid credential was shown.
        team: Name of the team that the token, or the person, belongs to; empty for none.
        user: The person, as the token or the identity provider names it; empty when unknown.
        bounds: What the caller is held to: those of the token, of the token that minted it, and of the team.
        identity: Verified claims for policies: `user` (with `id`, `email`, `groups`) and `custom`; empty without them.
    """

    token_id: str = ""
    authenticated: bool = False
    team: str = ""
    user: str = ""
    bounds: tuple[Bound, ...] = ()
    identity: Mapping[str, Any] = attrs.field(factory=dict)


ANONYMOUS = Caller()


def credentials(cf_aig_authorization: bytes | None, subprotocols: Sequence[str] = ()) -> bytes | None:
    """
    What a client sent for the gateway, a token of ours or of an identity provider, whether or not it is any good.

    Args:
        cf_aig_authorization: Value of that header, with or without `Bearer`.
        subprotocols: As offered in `Sec-WebSocket-Protocol`, split.
    Returns:
        The text; None when the client sent none. The header goes before the subprotocol.
    """
    if cf_aig_authorization is not None:
        scheme, _, rest = cf_aig_authorization.strip().partition(b" ")
        text = rest.strip() if scheme.lower() == b"bearer" else cf_aig_authorization.strip()
        return text or None
    for offered in subprotocols:
        if offered.lower().startswith(SUBPROTOCOL_PREFIX):
            return offered[len(SUBPROTOCOL_PREFIX) :].encode("utf-8", "replace") or None
    return None

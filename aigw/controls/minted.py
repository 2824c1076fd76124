"""Short-lived tokens that a backend asks for on behalf of its users: signed, and kept nowhere."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import attrs
import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from aigw.controls.authentication import Caller
from aigw.controls.bounds import bounds_problems
from aigw.controls.patterns import uncovered
from aigw.controls.token_text import BLOCK_BYTES, MINTED_AT_MOST_S, MINTED_BLOCKS, PREFIX, content_of, text_of
from aigw.controls.tokens import Tokens
from aigw.errors import InvalidField, NotAllowed
from aigw.values.gateway import Gateway
from aigw.values.limits import Bounds
from aigw.values.moment import utc_text
from aigw.values.team import UserName
from aigw.values.token import Token

# What was verified is remembered, so that a token costs its signature once.
REMEMBERED = 10_000
_MAC_BYTES = BLOCK_BYTES


class MintForm(Bounds, frozen=True, forbid_unknown_fields=True):
    """
    What a minted token shall be. Its bounds hold beside those of the token that mints it.

    Attributes:
        user: The person it is for; empty: whom the minting token names.
        expires_in_s: Seconds until it ends; it never outlives the minting token.
    """

    user: UserName | None = None
    expires_in_s: Annotated[int, Meta(ge=1, le=MINTED_AT_MOST_S)] = 3_600


class Minted(msgspec.Struct, frozen=True, array_like=True):
    """
    What a minted token says of itself.

    Attributes:
        parent: Id of the token that minted it.
        serial: Sixteen hex digits.
        expires_ms: It is refused from then on; UTC, milliseconds since the epoch.
        account, gateway: The only gateway that it opens.
        user: The person it is for, empty for nobody in particular.
        bounds: Its own.
    """

    parent: str
    serial: str
    expires_ms: int
    account: str
    gateway: str
    user: str
    bounds: Bounds

    @property
    def id(self) -> str:
        """Its public name, safe in logs."""
        return f"{self.parent}.{self.serial}"


@attrs.frozen
class NewMinted:
    """
    A minted token on the only occasion on which its text is known.

    Attributes:
        minted: What it says of itself.
        text: The secret, to be shown once.
    """

    minted: Minted
    text: str = attrs.field(repr=False)


class Minter:
    """
    Makes and verifies minted tokens. Servers that share the master key take each other's.

    Args:
        master_key: 32 bytes.
        tokens: Of this server.
        utc_ms: Milliseconds since the epoch, from the wall clock.
        random: Returns so many unpredictable bytes.
        also_check: What else there is against the bounds of a new token; one sentence a problem.
    """

    def __init__(
        self,
        master_key: bytes,
        tokens: Tokens,
        utc_ms: Callable[[], int],
        random: Callable[[int], bytes] = os.urandom,
        also_check: Callable[[Bounds], Sequence[str]] = lambda _: (),
    ) -> None:
        self._key = HKDF(SHA256(), BLOCK_BYTES, salt=None, info=b"aigw minted tokens 1").derive(master_key)
        self._tokens = tokens
        self._utc_ms = utc_ms
        self._random = random
        self._also_check = also_check
        self._verified: dict[bytes, Minted] = {}

    def mint(self, caller: Caller, gateway: Gateway, form: MintForm) -> NewMinted:
        """
        Make a token that may less than the one that asks, or the same.

        Args:
            caller: Who asks.
            gateway: The only one that the new token opens.
            form: What it shall be.
        Raises:
            NotAllowed: The caller came without a token of its own, or asks for more than it has; the text names the
                field.
            InvalidField: The form makes no sense, or is too long for a token.
        """
        parent = self._tokens.get(caller.token_id)
        if parent is None:
            raise NotAllowed("only a token that was made by the gateway's owner can mint others")
        bounds = Bounds(*(getattr(form, field) for field in Bounds.__struct_fields__))
        problems = [*bounds_problems(bounds, ""), *self._also_check(bounds)]
        if problems:
            raise InvalidField("; ".join(problems))
        for bound in caller.bounds:
            _check_narrower(bounds, bound.bounds)
        minted = Minted(
            *(parent.id, self._random(8).hex(), self._end_ms(parent, form), gateway.account, gateway.id),
            *(_user(form.user or "", parent.user), bounds),
        )
        return NewMinted(minted, self._text(minted))

    def verify(self, text: bytes, now_ms: int) -> Minted | None:
        """
        What a minted token says, when it is genuine and has not expired. Its parent has the last word.

        Args:
            text: As the caller sent it.
            now_ms: UTC, milliseconds since the epoch.
        """
        digest = hashlib.sha256(text).digest()
        minted = self._verified.get(digest)
        if minted is None:
            minted = self._read(text)
            if minted is None:
                return None
            if len(self._verified) >= REMEMBERED:
                del self._verified[next(iter(self._verified))]
            self._verified[digest] = minted
        return minted if now_ms < minted.expires_ms else None

    def _end_ms(self, parent: Token, form: MintForm) -> int:
        end_ms = self._utc_ms() + form.expires_in_s * 1000
        return end_ms if parent.expires_ms is None else min(end_ms, parent.expires_ms)

    def _text(self, minted: Minted) -> str:
        content = msgspec.json.encode(minted)
        # JSON ends where it ends, whatever spaces follow.
        content += b" " * (-len(content) % BLOCK_BYTES)
        if len(content) + _MAC_BYTES > MINTED_BLOCKS * BLOCK_BYTES:
            raise InvalidField("the user, the patterns and the limits together are too long for a token")
        return text_of(self._mac(content) + content)

    def _read(self, text: bytes) -> Minted | None:
        signed = content_of(text) if text.startswith(PREFIX) else None
        if signed is None:
            return None
        content = signed[_MAC_BYTES:]
        if not hmac.compare_digest(signed[:_MAC_BYTES], self._mac(content)):
            return None
        try:
            return msgspec.json.decode(content, type=Minted)
        except msgspec.MsgspecError:
            # Of another release that knows other bounds: what cannot be held to is not let in.
            return None

    def _mac(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, "sha256")


def minted_view(made: NewMinted) -> dict[str, Any]:
    """What the caller gets to see of a new token, its text included."""
    minted = made.minted
    return {
        "token": made.text,
        "id": minted.id,
        "expires_at": utc_text(minted.expires_ms),
        "account": minted.account,
        "gateway": minted.gateway,
        "user": minted.user,
        "bounds": msgspec.to_builtins(minted.bounds),
    }


def _user(asked: str, parents: str) -> str:
    if parents and asked and asked != parents:
        raise NotAllowed("user: the minting token is another person's")
    return asked or parents


def _check_narrower(bounds: Bounds, wider: Bounds) -> None:
    """
    Raises:
        NotAllowed: Something in `bounds` is beyond what `wider` allows.
    """
    for field in ("models", "providers", "origins"):
        beyond = uncovered(getattr(bounds, field), getattr(wider, field))
        if beyond is not None:
            raise NotAllowed(f"{field}: the minting token may not use `{beyond}`")

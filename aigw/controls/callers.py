"""Stage 1, as a whole: a credential becomes a caller, and stays one for as long as the credential holds."""

from __future__ import annotations

from collections.abc import Hashable

import attrs

from aigw.controls.authentication import ANONYMOUS, Bound, Caller
from aigw.controls.identity import Identity, Person, looks_like_identity
from aigw.controls.minted import Minted, Minter
from aigw.controls.teams import Teams
from aigw.controls.token_text import PREFIX, TEXT_BYTES
from aigw.controls.tokens import Tokens
from aigw.errors import IdentityNotReady, Unauthorized
from aigw.values.gateway import Gateway
from aigw.values.limits import Bounds
from aigw.values.team import Team
from aigw.values.token import Scope, Token

_NEVER_MS = 1 << 62
# Callers that are kept made up; anybody who shows a valid credential takes one place.
REMEMBERED = 10_000


@attrs.frozen(eq=False)
class Proof:
    """
    A credential that was verified once. Whether it still holds is asked anew.

    Attributes:
        token_id: Of the token, or of the one that minted it; empty without one.
        minted: What a minted token says.
        person: Whom an identity token is about.
    """

    token_id: str = ""
    minted: Minted | None = None
    person: Person | None = None

    @property
    def key(self) -> Hashable:
        """The same for proofs of the same; there are as many as there are callers."""
        if self.minted is None and self.person is None:
            return self.token_id
        return (self.token_id, self.minted and self.minted.serial, self.person and id(self.person))


NOTHING = Proof()


class Callers:
    """
    Decides who calls.

    Args:
        tokens: Of this server.
        teams: None: there are none.
        minter: None: minted tokens are not taken.
        identity: None: identity tokens are not taken.
    """

    def __init__(
        self,
        tokens: Tokens,
        teams: Teams | None = None,
        minter: Minter | None = None,
        identity: Identity | None = None,
    ) -> None:
        self._tokens = tokens
        self._teams = teams
        self._minter = minter
        self._identity = identity
        self._known: dict[Hashable, tuple[Proof, Caller]] = {}
        self._known_version = -1
        self._bounds: dict[str, Bound] = {}

    @property
    def version(self) -> int:
        """Grows with every change of a token, a team, or an identity provider's keys."""
        version = self._tokens.version
        if self._teams is not None:
            version += self._teams.version
        if self._identity is not None:
            version += self._identity.version
        return version

    def admit(
        self,
        gateway: Gateway,
        credential: bytes | None,
        now_ms: int,
        assertion: bytes | None = None,
        scope: Scope = "run",
    ) -> Admission:
        """
        Decide who calls a gateway.

        Args:
            gateway: What is addressed.
            credential: From `credentials`.
            now_ms: UTC, milliseconds since the epoch.
            assertion: An identity token beside it, as a proxy adds it (`cf-access-jwt-assertion`).
            scope: What the caller wants to do.
        Returns:
            The caller, for now and later. An open gateway takes any credential, also a wrong one such as `undefined`,
            which a known SDK sends when it was given no key; it does not take a wrong assertion.
        Raises:
            Unauthorized: The gateway wants a credential, and this is none, or not for this; or the assertion is wrong.
            IdentityNotReady: The key that signed an identity token is being fetched.
        """
        proof = self._proof(gateway, credential, assertion, now_ms, scope)
        admission = Admission(self, proof, scope)
        admission.present(gateway, now_ms)
        return admission

    def _proof(
        self, gateway: Gateway, credential: bytes | None, assertion: bytes | None, now_ms: int, scope: Scope
    ) -> Proof:
        proof = NOTHING if credential is None else self._proof_of(gateway, credential, now_ms, scope)
        if assertion is None or self._identity is None or not self._identity.configured:
            return proof
        return attrs.evolve(proof, person=self._identity.verify(assertion, now_ms))

    def _proof_of(self, gateway: Gateway, credential: bytes, now_ms: int, scope: Scope) -> Proof:
        """What a credential proves; nothing when it is wrong."""
        if len(credential) == TEXT_BYTES:
            token = self._tokens.verify(credential, gateway.account, gateway.id, scope, now_ms)
            if token is not None:
                return Proof(token.id)
        elif credential.startswith(PREFIX):
            minted = None if self._minter is None else self._minter.verify(credential, now_ms)
            # One for elsewhere is as good as none, also where none is wanted.
            if minted is not None and _is_for(minted, gateway, scope) and self._parent(minted, gateway, now_ms):
                return Proof(minted.parent, minted)
        elif self._identity is not None and self._identity.configured and looks_like_identity(credential):
            return self._proof_of_person(self._identity, gateway, credential, now_ms, scope)
        return NOTHING

    def _proof_of_person(
        self, identity: Identity, gateway: Gateway, credential: bytes, now_ms: int, scope: Scope
    ) -> Proof:
        try:
            person = identity.verify(credential, now_ms)
        except IdentityNotReady:
            raise
        except Unauthorized:
            if gateway.authentication:
                raise
            return NOTHING
        return Proof(person=person) if _opens(person, gateway, scope) else NOTHING

    def _parent(self, minted: Minted, gateway: Gateway, now_ms: int) -> bool:
        """Whether the token that minted one is still good, and the minted one was not revoked by itself."""
        parent = self._tokens.get(minted.parent)
        return (
            parent is not None
            and parent.allows(gateway.account, gateway.id, "run", now_ms)
            and self._tokens.get(minted.id) is None
        )

    # Later ----------------------------------------------------------------------------------------------------------

    def resolve(self, proof: Proof, gateway: Gateway, scope: Scope, now_ms: int) -> tuple[Caller, int]:
        """
        The caller that a proof makes now.

        Returns:
            The caller, and until when the proof can hold at most (UTC, milliseconds since the epoch).
        Raises:
            Unauthorized: The proof holds no more, or never did for this gateway.
        """
        until_ms = self._holds_until_ms(proof, gateway, scope, now_ms)
        version = self.version
        if version != self._known_version or len(self._known) >= REMEMBERED:
            self._known.clear()
            self._known_version = version
        key = proof.key if proof.token_id else (proof.key, gateway.account, _opened(proof, gateway, scope))
        known = self._known.get(key)
        if known is None:
            # The proof is kept with its caller, since its key holds the identity of an object in it.
            known = self._known[key] = (proof, self._caller(proof, gateway, scope))
        caller = known[1]
        if gateway.authentication and not caller.authenticated:
            raise Unauthorized()
        return caller, until_ms

    def _holds_until_ms(self, proof: Proof, gateway: Gateway, scope: Scope, now_ms: int) -> int:
        until_ms = _NEVER_MS
        if proof.token_id:
            token = self._tokens.get(proof.token_id)
            if token is None or not token.allows(gateway.account, gateway.id, scope, now_ms):
                raise Unauthorized(_why(token, now_ms))
            until_ms = token.ended_ms() or until_ms
        if proof.minted is not None:
            if self._tokens.get(proof.minted.id) is not None:
                raise Unauthorized("the token was revoked")
            until_ms = min(until_ms, proof.minted.expires_ms)
        if proof.person is not None:
            if not proof.person.in_force(now_ms):
                raise Unauthorized("the identity token has expired")
            until_ms = min(until_ms, proof.person.expires_ms)
        if now_ms >= until_ms:
            raise Unauthorized("the token has expired")
        return until_ms

    def _caller(self, proof: Proof, gateway: Gateway, scope: Scope) -> Caller:
        if proof is NOTHING:
            return ANONYMOUS
        token, minted, person = self._tokens.get(proof.token_id), proof.minted, proof.person
        user = (minted and minted.user) or (token and token.user) or (person and person.user) or ""
        team = self._team(token, person, gateway.account)
        bounds: list[Bound] = []
        if minted is not None:
            bounds.append(self._bound(f"token:{minted.id}", minted.bounds))
        if token is not None:
            bounds.append(self._bound(f"token:{token.id}", token.bounds))
        if team is not None:
            bounds.append(self._bound(f"team:{team.account}/{team.name}", team.bounds))
        return Caller(
            token_id=minted.id if minted is not None else token.id if token is not None else "",
            authenticated=token is not None or _opened(proof, gateway, scope),
            team="" if team is None else team.name,
            user=user,
            bounds=tuple(bounds),
            identity={} if person is None else person.claims(),
        )

    def _bound(self, holder: str, bounds: Bounds) -> Bound:
        """The same object for the same bounds: limits are compiled once for each."""
        known = self._bounds.get(holder)
        if known is None or known.bounds is not bounds:
            if len(self._bounds) >= REMEMBERED:
                self._bounds.clear()
            known = self._bounds[holder] = Bound(holder, bounds)
        return known

    def _team(self, token: Token | None, person: Person | None, account: str) -> Team | None:
        """
        Raises:
            Unauthorized: The team that is named is not there: what its members are held to is not known.
        """
        named = (token and token.team) or (person and person.team) or ""
        if named:
            team = None if self._teams is None else self._teams.find(account, named)
            if team is None:
                raise Unauthorized(f"there is no team `{named}`")
            return team
        if self._teams is None:
            return None
        names = (token.user if token is not None else "", *((person.id, person.email) if person is not None else ()))
        return self._teams.of_member(account, *names)


class Admission:
    """
    A caller who was let in, for as long as a connection lasts.

    Args:
        callers: Of this server.
        proof: Of the credential that was shown.
        scope: What the caller wants to do.

    Attributes:
        caller: Who called when last asked.
    """

    __slots__ = ("_callers", "_gateway", "_proof", "_scope", "_until_ms", "_version", "caller")

    def __init__(self, callers: Callers, proof: Proof, scope: Scope) -> None:
        self._callers = callers
        self._proof = proof
        self._scope = scope
        self._gateway: Gateway | None = None
        self._until_ms = 0
        self._version = -1
        self.caller = ANONYMOUS

    def present(self, gateway: Gateway, now_ms: int) -> Caller:
        """
        Who calls now: asked again for each request of a connection that lasts.

        Args:
            gateway: As it is now.
            now_ms: UTC, milliseconds since the epoch.
        Raises:
            Unauthorized: The credential was revoked or has expired, or the gateway is open no more.
        """
        version = self._callers.version
        if version != self._version or now_ms >= self._until_ms or gateway is not self._gateway:
            self.caller, self._until_ms = self._callers.resolve(self._proof, gateway, self._scope, now_ms)
            self._version, self._gateway = version, gateway
        return self.caller


def _is_for(minted: Minted, gateway: Gateway, scope: Scope) -> bool:
    return scope == "run" and (minted.account, minted.gateway) == (gateway.account, gateway.id)


def _opens(person: Person, gateway: Gateway, scope: Scope) -> bool:
    return scope == "run" and person.issuer.opens(gateway.account, gateway.id)


def _opened(proof: Proof, gateway: Gateway, scope: Scope) -> bool:
    """Whether a proof without a token is a credential of its own."""
    return proof.person is not None and _opens(proof.person, gateway, scope)


def _why(token: Token | None, now_ms: int) -> str:
    if token is not None and token.revoked_ms is None and not token.in_force(now_ms):
        return "the token has expired"
    return "the token was revoked"

"""Whose identity tokens are believed, and how their claims are read."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class IdentitySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """
    One identity provider.

    Attributes:
        issuer: Its `iss` claim, to the letter.
        audience: Any of these must be in the `aud` claim.
        jwks_url: Where its public keys are.
        algorithms: What it may sign with; only those with a public key.
        leeway_s: Seconds by which its clock may differ.
        authenticates: Whether its tokens open gateways by themselves, with the scope `run`; otherwise they only say who
            the holder of a token of this server is.
        gateways: Which they open, as `account/gateway`; `*` stands for any name.
        user_claim: Names the person; it must be there.
        email_claim: Holds an e-mail address; one that is said not to be verified is not believed.
        groups_claim: Holds a list of texts, or one.
        team_claim: Names the person's team, which must exist; empty: the team that lists the person as a member.
        custom_claims: Names of further claims that policies may read as `cf.custom.<name>`; `*` for all.
        require_claims: Claims that must have one of the values listed, such as `hd = ["example.com"]`.
    """

    issuer: Annotated[str, Meta(min_length=1)]
    audience: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1)]
    jwks_url: Annotated[str, Meta(pattern=r"^https?://[^\s]+\Z")]
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1)] = ("RS256", "ES256", "PS256", "EdDSA")
    leeway_s: Annotated[int, Meta(ge=0, le=300)] = 30
    authenticates: bool = False
    gateways: tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_*-]{1,64}/[A-Za-z0-9_*-]{1,64}\Z")], ...] = ("local/*",)
    user_claim: str = "sub"
    email_claim: str = "email"
    groups_claim: str = "groups"
    team_claim: str = ""
    custom_claims: tuple[str, ...] = ()
    require_claims: dict[str, tuple[str, ...]] = {}


def repeated_issuers(identity: tuple[IdentitySettings, ...]) -> list[str]:
    """What is wrong with several declarations together, one sentence a mistake."""
    issuers = [one.issuer for one in identity]
    return [
        f"identity[{index}].issuer: `{issuer}` is declared twice; list all audiences in one table"
        for index, issuer in enumerate(issuers)
        if issuer in issuers[:index]
    ]

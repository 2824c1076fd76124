"""Stage 5, the caller's part: which models, providers and pages a token or a team is for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from aigw.codecs.gateway_check import limit_rule_problems, lock_problems
from aigw.controls.authentication import Caller
from aigw.controls.patterns import matcher
from aigw.controls.visit import Visit
from aigw.errors import NotAllowed, OriginRefused
from aigw.values.limits import Bounds

# A browser's own spelling: scheme, host, and a port that is not the scheme's.
_ORIGIN = re.compile(r"(https?|[a-z][a-z0-9+.-]*-extension|capacitor|ionic|tauri)://[a-z0-9.-]+(:[0-9]{1,5})?|null")
_PATTERN = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")
_SHOWN_CHARS = 100


class HolderGuard:
    """Holds each step to the models and providers of its caller's token and team."""

    def check(self, visit: Visit) -> None:
        """
        Raises:
            NotAllowed: The step is for another provider or model, or for a model that cannot be told.
        """
        for bound in visit.caller.bounds:
            bounds = bound.bounds
            if bounds.providers and not matcher(bounds.providers)(visit.target.provider):
                raise NotAllowed(f"provider `{_shown(visit.target.provider)}`")
            if bounds.models and not (visit.ask.sure and visit.target.model):
                raise NotAllowed("the model cannot be told from the request")
            if bounds.models and not matcher(bounds.models)(visit.target.model):
                raise NotAllowed(f"model `{_shown(visit.target.model)}`")


def check_origins(caller: Caller, origin: str | None) -> None:
    """
    Hold a caller to the pages that its token and team are for.

    Such a token is for browsers only, since only they tell their page truly: whoever sends no origin is refused.

    Args:
        caller: See there.
        origin: As in the header `Origin`; None when it was not sent.
    Raises:
        OriginRefused: The page is none of them.
    """
    for bound in caller.bounds:
        if bound.bounds.origins and (origin is None or origin.lower() not in bound.bounds.origins):
            raise OriginRefused("the token is for other pages")


def bounds_problems(bounds: Bounds, path: str = "bounds") -> list[str]:
    """
    What is wrong with bounds whose types are right.

    Args:
        bounds: As an owner wrote them.
        path: Of the bounds, for the sentences; empty where they stand at the top.
    Returns:
        One sentence a mistake, each beginning with the path of its field.
    """
    return [problem.removeprefix(".") for problem in _problems(bounds, path)]


def _problems(bounds: Bounds, path: str) -> Iterator[str]:
    yield from _wrong_patterns(bounds.models, f"{path}.models")
    yield from _wrong_patterns(bounds.providers, f"{path}.providers")
    for index, origin in enumerate(bounds.origins):
        if not _ORIGIN.fullmatch(origin):
            yield f"{path}.origins[{index}]: expected an origin as browsers send it, such as `https://app.example`"
    yield from limit_rule_problems(bounds.limits, f"{path}.limits")
    for index, rule in enumerate(bounds.limits):
        yield from _wrong_patterns(rule.models, f"{path}.limits[{index}].models")
        yield from _wrong_patterns(rule.providers, f"{path}.limits[{index}].providers")
    yield from lock_problems(bounds.locked, f"{path}.locked")


def _wrong_patterns(patterns: Iterable[str], path: str) -> Iterator[str]:
    for index, pattern in enumerate(patterns):
        if not _PATTERN.fullmatch(pattern):
            yield f"{path}[{index}]: expected a name without spaces, in which `*` may stand"


def _shown(name: str) -> str:
    return name[:_SHOWN_CHARS]

"""Names of models and providers in which `*` stands for anything but a `/`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

STAR = "*"


@lru_cache(maxsize=4096)
def matcher(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """
    A test whether a name matches any of some patterns, compiled once for each list of them.

    Args:
        patterns: At least one; case matters.
    """
    if not any(STAR in pattern for pattern in patterns):
        return frozenset(patterns).__contains__
    parts = ("[^/]*".join(map(re.escape, pattern.split(STAR))) for pattern in patterns)
    match = re.compile("|".join(parts), re.DOTALL).fullmatch
    return lambda name: match(name) is not None


def uncovered(narrow: Iterable[str], wide: tuple[str, ...]) -> str:
    """
    Which of some patterns matches a name that none of others matches.

    Args:
        narrow: Patterns that are to be covered.
        wide: Patterns that cover; none of them: everything is covered.
    Returns:
        The first such pattern, empty when there is none.
    """
    if not wide:
        return ""
    # A `*` in a pattern is a character like any other to the wider one, and only another `*` takes it. Whatever the
    # narrow one's star stands for, the wider one's star can stand for that, too. It may say no where two patterns cover
    # a third one together, never yes where they do not.
    covers = matcher(tuple(sorted(wide)))
    return next((pattern for pattern in narrow if not covers(pattern)), "")

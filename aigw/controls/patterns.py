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
    match = re.compile("|".join(map(_expression, patterns))).fullmatch
    return lambda name: match(name) is not None


def _expression(pattern: str) -> str:
    """
    The pattern as a regular expression. Each fixed part is taken where it comes first, and for good: that finds every
    match, and a hostile name costs no more than its length for each part.
    """
    first, *middle = map(re.escape, pattern.split(STAR))
    if not middle:
        return first
    *middle, last = middle
    return first + "".join(f"(?>[^/]*?{part})" for part in middle) + f"[^/]*{last}"


def uncovered(narrow: Iterable[str], wide: tuple[str, ...]) -> str | None:
    """
    Which of some patterns matches a name that none of others matches.

    Args:
        narrow: Patterns that are to be covered.
        wide: Patterns that cover; none of them: everything is covered.
    Returns:
        The first such pattern, None when there is none.
    """
    if not wide:
        return None
    # A `*` in a pattern is a character like any other to the wider one, and only another `*` takes it. Whatever the
    # narrow one's star stands for, the wider one's star can stand for that, too. It may say no where two patterns cover
    # a third one together, never yes where they do not.
    covers = matcher(tuple(sorted(wide)))
    return next((pattern for pattern in narrow if not covers(pattern)), None)

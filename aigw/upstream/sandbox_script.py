"""What a sandbox model is asked to do, read from its name."""

from __future__ import annotations

import re

import attrs


@attrs.frozen
class Script:
    """
    How the sandbox answers. Parts of a model's name are joined by `+`: `slow-100+words-50`; any other name echoes.

    | part | what happens |
    |---|---|
    | `echo` | the last user message comes back word by word (so it does without any part) |
    | `words-500` | so many words come instead, at most 1,000,000 |
    | `slow-2000` | so many milliseconds pass before the first byte |
    | `pace-50` | so many milliseconds pass between two chunks |
    | `error-500` | an error with this status (400 to 599), in OpenAI's form |
    | `rate-limited` | 429 with `retry-after` |
    | `connect-failed` | no connection is made |
    | `hang` | no answer ever comes |
    | `stall-after-2` | nothing more comes after so many chunks, and no end either |
    | `truncate-after-3` | the answer is cut after so many chunks, without `[DONE]` |
    | `garbage` | the body is not JSON |
    | `binary` | the body is `audio/mpeg` |
    | `no-usage` | no usage is told, asked for or not |

    Attributes:
        words: Number of words instead of an echo.
        slow_ms, pace_ms: Milliseconds; a `pace_ms` of None leaves it to the settings.
        status: HTTP status of an error, 0 for none.
        stall_after, truncate_after: Number of chunks.
        rate_limited, connect_failed, hang, garbage, binary, no_usage: As in the table.
    """

    words: int | None = None
    slow_ms: int = 0
    pace_ms: int | None = None
    status: int = 0
    stall_after: int | None = None
    truncate_after: int | None = None
    rate_limited: bool = False
    connect_failed: bool = False
    hang: bool = False
    garbage: bool = False
    binary: bool = False
    no_usage: bool = False


# Field and bounds of the parts that end with a number.
_NUMBERED = {
    "words": ("words", 0, 1_000_000),
    "slow": ("slow_ms", 0, 3_600_000),
    "pace": ("pace_ms", 0, 3_600_000),
    "error": ("status", 400, 599),
    "stall-after": ("stall_after", 0, 1_000_000),
    "truncate-after": ("truncate_after", 0, 1_000_000),
}
_FLAGS = frozenset(("rate-limited", "connect-failed", "hang", "garbage", "binary", "no-usage"))
_PART = re.compile(r"([a-z-]+)-([0-9]{1,7})")


def read_script(model: str) -> Script:
    """Read a model's name; parts that say nothing are passed over."""
    told: dict[str, int | bool] = {}
    for part in model.split("+"):
        if part in _FLAGS:
            told[part.replace("-", "_")] = True
        elif match := _PART.fullmatch(part):
            word, number = match[1], int(match[2])
            field, least, most = _NUMBERED.get(word, ("", 1, 0))
            if least <= number <= most:
                told[field] = number
    return Script(**told)  # type: ignore[arg-type]  # the two tables above name fields of their types

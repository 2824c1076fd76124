"""What a request's own `cf-aig-*` headers set, and the settings of dispatch itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Annotated

import attrs
import msgspec
from msgspec import Meta

from aigw.controls.visit import Metadata
from aigw.dispatch.custom_cost import read_custom_cost
from aigw.errors import InvalidField
from aigw.values.gateway import Gateway
from aigw.values.record import TEXT_CHARS
from aigw.values.step import Clocks

METADATA_ENTRIES = 5
_RESERVED = "cf."
_REMEMBERED_BYTES = 1024


class DispatchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds and clocks of an exchange."""

    connect_s: Annotated[float, Meta(ge=0, description="Seconds to reach a provider; 0 is off.")] = 10.0
    first_byte_s: Annotated[
        float,
        Meta(ge=0, description="Seconds from the sent request to the answer's head; 0 is off."),
    ] = 300.0
    idle_s: Annotated[
        float, Meta(ge=0, description="Seconds that a provider may be silent within its answer; 0 is off.")
    ] = 120.0
    total_s: Annotated[float, Meta(ge=0, description="Seconds for a whole answer; 0 is off.")] = 3600.0
    session_s: Annotated[float, Meta(ge=0, description="Seconds for a whole realtime session; 0 is off.")] = 7200.0
    response_bytes: Annotated[
        int, Meta(ge=1024, description="Length of an answer that is no stream; a longer one fails with code 4025.")
    ] = 33_554_432
    event_bytes: Annotated[
        int, Meta(ge=1024, description="Length of one event of a stream; a longer one fails with code 4025.")
    ] = 8_388_608
    log_body_bytes: Annotated[
        int, Meta(ge=0, description="Bytes of each request and each answer that the log keeps; the rest is cut off.")
    ] = 1_048_576

    def clocks(self) -> Clocks:
        """The four clocks of an attempt."""
        return Clocks(self.connect_s, self.first_byte_s, self.idle_s, self.total_s)


_INTEGER = re.compile(rb"-?\d{1,64}")
_FLAGS = (b"true", b"false")


def check_settings(settings: Mapping[bytes, bytes]) -> None:
    """
    See that the `cf-aig-*` headers of a request say something. A number out of range does; it is brought into it.

    Args:
        settings: Names in lower case.
    Raises:
        InvalidField: A value is none of its header's; a timeout with a typing error would be no timeout at all.
    """
    for name, value in settings.items():
        wrong = _wrong(name, value.strip())
        if wrong:
            raise InvalidField(f"header `{name.decode('ascii', 'replace')[:64]}`: {wrong}")


def _wrong(name: bytes, value: bytes) -> str:
    check = _CHECKS.get(name)
    if check is None:
        return ""
    # An application sends the same few over and over.
    return _judged(check, value) if len(value) <= _REMEMBERED_BYTES else check(value)


@lru_cache(maxsize=512)
def _judged(check: Callable[[bytes], str], value: bytes) -> str:
    return check(value)


def _not_whole(value: bytes) -> str:
    return "" if _INTEGER.fullmatch(value) else "not a whole number"


def _no_flag(value: bytes) -> str:
    return "" if value.lower() in _FLAGS else "neither `true` nor `false`"


def _no_backoff(value: bytes) -> str:
    known = (b"constant", b"linear", b"exponential")
    return "" if value.lower() in known else "none of `constant`, `linear`, `exponential`"


def _no_object(value: bytes) -> str:
    try:
        msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        return "no JSON object"
    return ""


def _no_cost(value: bytes) -> str:
    if _no_object(value):
        return "no JSON object"
    try:
        read_custom_cost(value)
    except ValueError as error:
        return str(error)
    return ""


# What each header may say, by its name: the function gives the end of a sentence for a value that it may not. A header
# that is not here takes any text.
_CHECKS: dict[bytes, Callable[[bytes], str]] = {
    b"cf-aig-request-timeout": _not_whole,
    b"cf-aig-max-attempts": _not_whole,
    b"cf-aig-retry-delay": _not_whole,
    b"cf-aig-cache-ttl": _not_whole,
    b"cf-aig-collect-log": _no_flag,
    b"cf-aig-collect-log-payload": _no_flag,
    b"cf-aig-skip-cache": _no_flag,
    b"cf-aig-zdr": _no_flag,
    b"cf-aig-no-wholesale": _no_flag,
    b"cf-aig-no-session-affinity": _no_flag,
    b"cf-aig-backoff": _no_backoff,
    b"cf-aig-metadata": _no_object,
    b"cf-aig-custom-cost": _no_cost,
}


@attrs.frozen
class Collect:
    """
    What the log keeps of an exchange (section 6.4 of Cloudflare's reference).

    Attributes:
        row: Whether there is a row at all; usage is counted in any case.
        payload: Whether the row has bodies.
    """

    row: bool
    payload: bool


def collect(gateway: Gateway, settings: Mapping[bytes, bytes]) -> Collect:
    """
    Merge the gateway's `collect_logs` with the request's two headers.

    Args:
        gateway: The owner's settings.
        settings: The request's `cf-aig-*` headers; a value that is neither `true` nor `false` is passed over.
    """
    row = _flag(settings.get(b"cf-aig-collect-log"), gateway.collect_logs)
    return Collect(row, row and _flag(settings.get(b"cf-aig-collect-log-payload"), True))


def _flag(value: bytes | None, default: bool) -> bool:
    if value is None:
        return default
    return {b"true": True, b"false": False}.get(value.strip().lower(), default)


@attrs.frozen
class ReadMetadata:
    """
    Attributes:
        values: By key, at most `METADATA_ENTRIES`, their texts cut to `TEXT_CHARS`.
        text: The same as a JSON object, nothing for none.
    """

    values: Metadata
    text: bytes


NO_METADATA = ReadMetadata({}, b"")


def read_metadata(settings: Mapping[bytes, bytes]) -> ReadMetadata:
    """
    Read `cf-aig-metadata`.

    Returns:
        Nothing when the header is absent or is no object of plain values.
    """
    text = settings.get(b"cf-aig-metadata")
    if not text:
        return NO_METADATA
    # An application sends the same few over and over.
    return _remembered(text) if len(text) <= _REMEMBERED_BYTES else _read(text)


def _read(text: bytes) -> ReadMetadata:
    try:
        entries = msgspec.json.decode(text, type=dict[str, str | int | float | bool])
        allowed = ((key, value) for key, value in entries.items() if not key.startswith(_RESERVED))
        kept = {
            key[:TEXT_CHARS]: value[:TEXT_CHARS] if isinstance(value, str) else value
            for key, value in islice(allowed, METADATA_ENTRIES)
        }
        return ReadMetadata(kept, msgspec.json.encode(kept)) if kept else NO_METADATA
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return NO_METADATA


_remembered = lru_cache(maxsize=512)(_read)


def step_clocks(clocks: Clocks, settings: Mapping[bytes, bytes]) -> Clocks:
    """The clocks with the caller's `cf-aig-request-timeout` (milliseconds to the first part of the answer) applied."""
    value = settings.get(b"cf-aig-request-timeout", b"").strip()
    if not value.isdigit() or len(value) > 9 or int(value) == 0:
        return clocks
    asked_s = int(value) / 1000
    return attrs.evolve(clocks, first_byte_s=min(asked_s, clocks.first_byte_s) if clocks.first_byte_s else asked_s)

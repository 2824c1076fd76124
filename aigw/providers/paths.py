"""What a client may ask for below a provider, and how that becomes the provider's own path."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import attrs

from aigw.errors import InvalidField

ENDPOINT_CHARS = 8192

# A segment that becomes part of a host name: no dot, so that it cannot name another host.
HOST_LABEL = re.compile(r"[a-z0-9-]{1,63}")
HOST_NAME = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")

# Tokens of this gateway: anything that begins as one, as a word of its own (`aigw_...`, `Bearer aigw_...`,
# `openai-insecure-api-key.aigw_...`), and a whole one wherever it stands.
GATEWAY_TOKEN = re.compile(r"(?<![A-Za-z0-9_])aigw_|aigw_[A-Za-z0-9]{43}")

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\#]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
# What RFC 3986 allows in a path and in a query; everything else is percent-encoded, what is encoded already stays.
_PATH_SAFE = "/!$&'()*+,;=:@-._~%"
_QUERY_SAFE = _PATH_SAFE + "?[]"
# Workers AI's catalogues are the only first segments with an at sign.
_CATALOGUES = ("@cf", "@hf")
# Decoding once more than any server would, so that `%252e` hides nothing.
_DECODINGS = 3


def split_endpoint(endpoint: str) -> tuple[str, str]:
    """
    Check and encode what a client wrote below a provider.

    Args:
        endpoint: A path, with or without a leading slash, perhaps with a query string.
    Returns:
        The path without its leading slash and the query without its question mark, both percent-encoded ASCII. A query
        argument that holds one of the gateway's own tokens is left out.
    Raises:
        InvalidField: It tries to leave the provider's base address, or is no path at all.
    """
    if len(endpoint) > ENDPOINT_CHARS:
        raise InvalidField(f"endpoint is longer than {ENDPOINT_CHARS} characters")
    if _FORBIDDEN.search(endpoint):
        raise InvalidField("endpoint holds a control character, a backslash or a '#'")
    path, _, query = endpoint.partition("?")
    path = path.removeprefix("/")
    _check_path(path)
    if "aigw_" in _plain(query):
        query = "&".join(part for part in query.split("&") if not GATEWAY_TOKEN.search(_plain(part)))
    try:
        return quote(path, _PATH_SAFE), quote(query, _QUERY_SAFE)
    except UnicodeEncodeError:
        raise InvalidField("endpoint holds a lone surrogate") from None


def _plain(encoded: str) -> str:
    """What a text may come to mean to a server that decodes it, perhaps more than once."""
    for _ in range(_DECODINGS):
        decoded = unquote(encoded)
        if decoded == encoded:
            break
        encoded = decoded
    return encoded


def _check_path(path: str) -> None:
    plain = _plain(path)
    if _FORBIDDEN.search(plain) or "?" in plain:
        raise InvalidField("endpoint hides a control character, a backslash, '#' or '?' in its path")
    if _SCHEME.match(plain):
        raise InvalidField("endpoint must be a path below the provider, not an address")
    if plain.startswith("/") or "//" in plain:
        raise InvalidField("endpoint holds an empty path segment")
    segments = plain.split("/")
    # Some servers take what follows a semicolon for parameters, and `..;x` for `..`.
    if any(segment.partition(";")[0].strip() in (".", "..") for segment in segments):
        raise InvalidField("endpoint holds a '.' or '..' segment")
    if "@" in segments[0] and segments[0] not in _CATALOGUES:
        raise InvalidField("endpoint holds an '@' where an address could hide a user name")
    if GATEWAY_TOKEN.search(plain):
        raise InvalidField("endpoint holds a token of this gateway")


def _compiled(form: Form) -> re.Pattern[str]:
    """The regular expression of a form: `{rest}` is everything, any other name is one segment."""
    parts = re.split(r"\{(\w+)\}", form.asked)
    pattern = ""
    for index, part in enumerate(parts):
        pattern += re.escape(part) if index % 2 == 0 else f"(?P<{part}>{'.*' if part == 'rest' else '[^/]+'})"
    return re.compile(pattern)


@attrs.frozen
class Form:
    """
    One way to ask for something, and the vendor's path for it.

    Attributes:
        asked: The path below the provider: literal text, `{name}` for one segment, `{rest}` for all that follows.
        upstream: The path below the base address; may use the same names.
        base_url: The base address of this form, when it is not the provider's; may use the same names.
    """

    asked: str
    upstream: str
    base_url: str = ""
    _pattern: re.Pattern[str] = attrs.field(init=False, default=attrs.Factory(_compiled, takes_self=True), repr=False)

    def match(self, path: str) -> dict[str, str] | None:
        """The values of the names, or None when the path is of another form."""
        found = self._pattern.fullmatch(path)
        return None if found is None else found.groupdict()


def fill(template: str, values: dict[str, str]) -> str:
    """
    Put values into a template.

    Raises:
        InvalidField: The template wants a value that the request does not name.
    """
    if "{" not in template:
        return template
    try:
        return re.sub(r"\{(\w+)\}", lambda name: values[name[1]], template)
    except KeyError as missing:
        raise InvalidField(f"endpoint does not name the {missing.args[0]} that this provider needs") from None

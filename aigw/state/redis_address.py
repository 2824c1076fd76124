"""Where a Redis is, out of its URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import attrs
from OpenSSL import crypto
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from aigw.errors import ConfigurationError

DEFAULT_PORT = 6379
CERTIFICATE_END = "-----END CERTIFICATE-----"


@attrs.frozen
class RedisAddress:
    """
    Where a Redis is, and how it is entered. Its text form shows no password.

    Attributes:
        host, port: Of TCP; an empty host means a socket.
        path: Of the socket.
        tls: Whether the server must show a certificate for its name.
        user, password: None where the server asks for none.
        db: Number of the database.
    """

    host: str = ""
    port: int = DEFAULT_PORT
    path: str = ""
    tls: bool = False
    user: str | None = attrs.field(default=None, repr=False)
    password: str | None = attrs.field(default=None, repr=False)
    db: int = 0

    def __str__(self) -> str:
        place = f"{self.host}:{self.port}" if self.host else self.path
        return f"{place}/{self.db}"

    def endpoint(self, reactor: Any, timeout_s: float, trust_roots: str = "") -> IStreamClientEndpoint:
        """
        How to connect.

        Args:
            reactor: Sockets, clock and name resolver.
            timeout_s: For a connection to be made.
            trust_roots: A PEM file of authorities that are trusted instead of the system's; empty for those.
        Raises:
            ConfigurationError: The file cannot be read.
        """
        if not self.host:
            return UNIXClientEndpoint(reactor, self.path, timeout=timeout_s)
        plain = HostnameEndpoint(reactor, self.host, self.port, timeout=timeout_s)
        if not self.tls:
            return plain
        trusted = _trusted(Path(trust_roots)) if trust_roots else None
        return wrapClientTLS(optionsForClientTLS(self.host, trustRoot=trusted), plain)


def read_redis_url(url: str) -> RedisAddress:
    """
    Read `redis://`, `rediss://` or `unix://`.

    Raises:
        ConfigurationError: The URL cannot be used; it is not repeated, since it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
    except ValueError:
        raise _wrong("is no URL") from None
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password is not None else None
    if user is not None and password is None:
        raise _wrong("names a user without a password")
    if parts.scheme == "unix":
        if parts.hostname or not parts.path.startswith("/"):
            raise _wrong("must have the form `unix:///path/of/the.sock`")
        return RedisAddress("", port, unquote(parts.path), False, user, password, _database_of(parts, ""))
    if parts.scheme not in ("redis", "rediss"):
        raise _wrong("must begin with `redis://`, `rediss://` or `unix://`")
    if not parts.hostname:
        raise _wrong("names no host")
    db = _database_of(parts, parts.path.strip("/"))
    return RedisAddress(parts.hostname, port, "", parts.scheme == "rediss", user, password, db)


def _database_of(parts: SplitResult, path: str) -> int:
    """The database's number: behind the port, or as `?db=`."""
    query = parse_qs(parts.query)
    texts = [text for text in (path, *query.pop("db", ())) if text]
    if query or parts.fragment or len(texts) > 1 or not all(text.isascii() and text.isdigit() for text in texts):
        raise _wrong("may name one database by its number, and nothing else, behind the server")
    return int(texts[0]) if texts else 0


def _trusted(file: Path) -> Any:
    try:
        blocks = [each + CERTIFICATE_END for each in file.read_text("ascii").split(CERTIFICATE_END)[:-1]]
        certificates = [Certificate.loadPEM(each.encode()) for each in blocks]
    except (OSError, ValueError, crypto.Error) as error:
        raise ConfigurationError([f"state.redis_trust_roots: cannot be read: {type(error).__name__}"]) from None
    if not certificates:
        raise ConfigurationError(["state.redis_trust_roots: holds no certificate"])
    return trustRootFromCertificates(certificates)


def _wrong(text: str) -> ConfigurationError:
    return ConfigurationError([f"state.redis: {text}"])

"""How a PostgreSQL server is reached: the owner's text, without ever showing its password or blocking on its names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import attrs
import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

from aigw.errors import ConfigurationError, StorageUnavailable

# Taken when the owner says nothing else. Kerberos would ask its servers with the reactor blocked; without keep-alives
# a listening connection would not notice for two hours that its server is gone.
DEFAULTS = {
    "application_name": "aigw",
    "client_encoding": "utf8",
    "gssencmode": "disable",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}


@attrs.frozen(repr=False)
class Dsn:
    """
    Connection parameters by libpq's keywords.

    Attributes:
        parameters: May hold a password, so neither `repr` nor `str` shows them all.
    """

    parameters: Mapping[str, str]

    @property
    def text(self) -> str:
        """For libpq, password and all."""
        return str(make_dsn(**self.parameters))

    def __str__(self) -> str:
        shown = ("host", "hostaddr", "port", "dbname", "user")
        return " ".join(f"{key}={self.parameters[key]}" for key in shown if key in self.parameters)

    def __repr__(self) -> str:
        return f"<Dsn {self}>"

    def on_database(self, name: str) -> Dsn:
        """The same server and user, another database."""
        return Dsn({**self.parameters, "dbname": name})

    async def resolved(self, resolver: Any) -> Dsn:
        """
        Ask for the addresses of all host names, since libpq would ask with the reactor blocked.

        Args:
            resolver: An `IHostnameResolver`, such as `reactor.nameResolver`.
        Returns:
            The same with `hostaddr`; names stay in `host`, for certificates are checked against them.
        Raises:
            StorageUnavailable: None of the names has an address.
        """
        hosts = self.parameters.get("host", "").split(",")
        if "hostaddr" in self.parameters or not any(_is_name(host) for host in hosts):
            return self
        ports = self.parameters.get("port", "").split(",")
        # libpq takes one port for all hosts, or one for each.
        ports = ports * len(hosts) if len(ports) == 1 else ports
        found: list[tuple[str, str, str]] = []
        for host, port in zip(hosts, ports, strict=True):
            addresses = await _addresses(resolver, host) if _is_name(host) else [host if not _is_path(host) else ""]
            found += [(host, address, port) for address in addresses]
        if not found:
            raise StorageUnavailable(f"No address for the database's host {self.parameters['host']}")
        host, hostaddr, port = (",".join(column) for column in zip(*found, strict=True))
        return Dsn({**self.parameters, "host": host, "hostaddr": hostaddr, "port": port})


def read_dsn(text: str, environ: Mapping[str, str] = os.environ) -> Dsn:
    """
    Read what the owner wrote.

    Args:
        text: `key=value ...` or `postgresql://...`, as libpq takes them.
        environ: `PGHOST` stands in for a missing host, here rather than inside libpq, since it may be a name.
    Raises:
        ConfigurationError: It is neither. The text is not repeated, since it may hold a password.
    """
    try:
        given = dict(parse_dsn(text))
    except (psycopg2.Error, UnicodeError, ValueError):
        # libpq's own message quotes the word that it stumbled over, which may be a piece of the password.
        raise ConfigurationError(["database: neither `key=value ...` nor `postgresql://user@host/name`"]) from None
    if "service" in given:
        raise ConfigurationError(["database: `service` is not read; name the host itself"])
    if "host" not in given and "hostaddr" not in given and environ.get("PGHOST"):
        given["host"] = environ["PGHOST"]
    hosts, ports = given.get("host", "").split(","), given.get("port", "").split(",")
    if not all(port == "" or port.isdecimal() for port in ports):
        # An unescaped slash in a password makes its beginning a port.
        raise ConfigurationError(["database: a port is no number (a slash in a password has to be escaped)"])
    if len(ports) not in (1, len(hosts)):
        raise ConfigurationError(["database: as many ports as hosts are needed, or one for all"])
    return Dsn({**DEFAULTS, **given})


def _is_path(host: str) -> bool:
    return host == "" or host.startswith(("/", "@"))


def _is_name(host: str) -> bool:
    if _is_path(host):
        return False
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return True
    return False


async def _addresses(resolver: Any, host: str) -> list[str]:
    """Every address of a name, none when it is unknown."""
    receiver = _Receiver()
    resolver.resolveHostName(receiver, host)
    return await receiver.complete


@implementer(IResolutionReceiver)
class _Receiver:
    """An `IResolutionReceiver` that gathers."""

    def __init__(self) -> None:
        self.complete: Deferred[list[str]] = Deferred()
        self._found: list[str] = []

    def resolutionBegan(self, resolution: Any) -> None:
        """See `IResolutionReceiver`."""

    def addressResolved(self, address: Any) -> None:
        """See `IResolutionReceiver`."""
        if address.host not in self._found:
            self._found.append(address.host)

    def resolutionComplete(self) -> None:
        """See `IResolutionReceiver`."""
        # Cancelled: the connection attempt was given up in the meantime.
        if not self.complete.called:
            self.complete.callback(self._found)

"""How a provider's host is reached: by name, over TCP, and TLS that is always verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet._sslverify import IOpenSSLTrustRoot  # the only seam for roots beside the system's own
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionRefusedError, DNSLookupError, TimeoutError
from twisted.internet.interfaces import (
    IConnector,
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IStreamClientEndpoint,
)
from twisted.internet.ssl import VerificationError, optionsForClientTLS, platformTrust
from zope.interface import implementer

from aigw.errors import ConfigurationError, ConnectFailed
from aigw.upstream.addresses import PrivateAddress, is_public
from aigw.upstream.request import Site

# What may be told of a failed connection: neither addresses nor what a TLS library thinks of them.
_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (PrivateAddress, "{host} has a private address, which the operator does not allow"),
    (DNSLookupError, "there is no such host as {host}"),
    (ConnectionRefusedError, "{host} refused the connection"),
    (TimeoutError, "{host} did not take the connection in time"),
    (VerificationError, "the certificate is not one of {host}"),
    (SSL.Error, "TLS failed, or the certificate of {host} is not to be trusted"),
)


def connect_failed(host: str, reason: BaseException | None) -> ConnectFailed:
    """Say why a host was not reached, in words that a client may see."""
    text = next((text for kind, text in _REASONS if isinstance(reason, kind)), "{host} could not be reached")
    return ConnectFailed(text.format(host=host))


@implementer(IReactorPluggableNameResolver)
class _NamingReactor:
    """What `HostnameEndpoint` asks of a reactor, with names looked up our way and no other endpoint's changed."""

    def __init__(self, reactor: Any, names: IHostnameResolver) -> None:
        self.nameResolver = names
        self.connectTCP = reactor.connectTCP
        self.callLater = reactor.callLater
        self.seconds = reactor.seconds

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Put another resolver in place; returns the one before."""
        before, self.nameResolver = self.nameResolver, resolver
        return before


class _PublicReactor(_NamingReactor):
    """
    Connects to public addresses only. Every connection that an endpoint makes comes through here with the address that
    it goes to, so no name can be looked up once for the check and once more, with another result, for the connection.
    """

    def __init__(self, reactor: Any, names: IHostnameResolver) -> None:
        super().__init__(reactor, names)
        self._connect = reactor.connectTCP
        self.connectTCP = self._connect_public

    def _connect_public(self, host: str, *where: Any, **how: Any) -> IConnector:
        if not is_public(host):
            raise PrivateAddress()
        return self._connect(host, *where, **how)  # type: ignore[no-any-return]  # whatever reactor it is


@implementer(IOpenSSLTrustRoot)
class _SystemAndOwn:
    """The authorities that the system trusts, and some more."""

    def __init__(self, certificates: list[X509]) -> None:
        self._system = platformTrust()
        self._certificates = certificates

    def _addCACertsToContext(self, context: SSL.Context) -> None:
        self._system._addCACertsToContext(context)
        store = context.get_cert_store()
        if store is not None:
            for certificate in self._certificates:
                store.add_cert(certificate)


def read_trust_roots(path: str) -> list[X509]:
    """
    Read certificates of authorities.

    Args:
        path: A PEM file; empty for none.
    Raises:
        ConfigurationError: It cannot be read, or holds none.
    """
    if not path:
        return []
    try:
        certificates = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as problem:
        raise ConfigurationError([f"upstream.trust_roots: {path}: {problem}"]) from problem
    return [X509.from_cryptography(certificate) for certificate in certificates]


class Reach:
    """
    Makes endpoints.

    Args:
        reactor: Connects; provides `IReactorTCP` and `IReactorTime`.
        names: Looks names up.
        roots: Trusted beside the system's own.
        allow_private: Whether all hosts may have private addresses, not only those that are the operator's own word.
    """

    def __init__(self, reactor: Any, names: IHostnameResolver, roots: list[X509], allow_private: bool = False) -> None:
        self._reactor = reactor
        self._any = _NamingReactor(reactor, names)
        self._public = self._any if allow_private else _PublicReactor(reactor, names)
        self._trust = _SystemAndOwn(roots)

    def endpoint(self, place: Site, trusted: bool = False) -> IStreamClientEndpoint:
        """
        Where all addresses of a host are tried, a little apart, until one answers.

        Args:
            place: See there.
            trusted: Whether it is the operator's own word: then its addresses may be private ones.
        """
        tcp = HostnameEndpoint(self._any if trusted else self._public, place.host, place.port)
        if not place.secure:
            return tcp
        return wrapClientTLS(optionsForClientTLS(place.host, trustRoot=self._trust), tcp, clock=self._reactor)

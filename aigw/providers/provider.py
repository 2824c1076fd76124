"""A vendor as a value: where it lives, how it is asked, and how its answers are read."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import attrs
import msgspec

from aigw.errors import InvalidField, NotFound
from aigw.interfaces import ICredentials
from aigw.providers.answers import AnswerReader, reader_for
from aigw.providers.credentials import CredentialScheme, CredentialSource
from aigw.providers.families import Family, family_of
from aigw.providers.headers import outgoing
from aigw.providers.model_types import model_type
from aigw.providers.paths import HOST_LABEL, HOST_NAME, Form, fill, split_endpoint
from aigw.providers.realtime import Realtime, Upgrade, renamed, split_keys, split_protocols
from aigw.providers.request import UNREAD, ask_of_body, model_of_query
from aigw.providers.sessions import SessionReader, session_reader
from aigw.values.record import TEXT_CHARS
from aigw.values.step import Ask, Headers

# Applications use a handful of endpoints over and over.
ADDRESSES_KEPT = 256

_CLOUDFLARE_ACCOUNT = re.compile(r"[0-9a-f]{32}")


@attrs.frozen
class Provider:
    """
    One vendor's API. Data first; a vendor that differs says so in its own file.

    Attributes:
        slug: As clients write it.
        base_url: Address that paths are put behind, without a trailing slash. May hold `{names}` of the forms; one in
            the host is held to a single label of a host name.
        credentials: Lower-case names of the headers that carry the vendor's credential.
        forms: Ways to write a path that differ from the vendor's own; the first that fits is taken, none is needed.
        family: Of the answers on the vendor's main address.
        families: Paths of other families: regular expressions that are searched for in a path, the first that is found
            counts, before what holds for all vendors.
        prices: Id of the vendor in `genai-prices`, empty when it has no prices by token.
        aliases: Other slugs, such as the prefix in a unified model name.
        model_pattern: Regular expression whose first group finds the model in a path, empty when bodies name it.
        query_model: Whether the vendor reads the model from the query string, also beside a body.
        done_mark: False for a vendor that may end an OpenAI-style stream without `[DONE]`; a finish reason then counts.
        target_header: Name of a header that gives the whole address, empty when the vendor has none.
        target_hosts: The hosts (and their subdomains) that such an address may name.
        realtime: The vendor's realtime sockets, None when it has none that are known here.
        fixed: Headers of every request: the vendor's own and the operator's.
        account: The account at the vendor, for a `{account}` in the base address.
        region: The vendor's region for paths that name none, for a `{region}` in the base address.
        region_pattern: Regular expression of the vendor's regions, where a host must be told from others of the same
            domain.
        overridden: Whether the operator set another base address.
        scheme: How signatures or tokens are made, None for a vendor whose credential is a plain header.
        source: Makes them; None without a scheme, and in a table that sends nothing.
    """

    slug: str
    base_url: str
    credentials: tuple[bytes, ...] = (b"authorization",)
    forms: tuple[Form, ...] = ()
    family: Family = "generic"
    families: tuple[tuple[str, Family], ...] = ()
    prices: str = ""
    aliases: tuple[str, ...] = ()
    model_pattern: str = ""
    query_model: bool = False
    done_mark: bool = True
    target_header: bytes = b""
    target_hosts: tuple[str, ...] = ()
    realtime: Realtime | None = None
    # The operator's headers may hold keys.
    fixed: Headers = attrs.field(default=(), repr=False)
    account: str = ""
    region: str = ""
    region_pattern: str = ""
    overridden: bool = False
    scheme: CredentialScheme | None = attrs.field(default=None, repr=False)
    source: CredentialSource | None = attrs.field(default=None, repr=False)
    _known: dict[tuple[str, str], bytes] = attrs.field(init=False, factory=dict, eq=False, repr=False)

    # Where a request goes -------------------------------------------------------------------------------------------

    def address(self, endpoint: str, headers: Headers = (), account: str = "") -> bytes:
        """
        The address of an endpoint.

        Args:
            endpoint: Path below the provider, perhaps with a query string, as the client wrote it.
            headers: Of the step; only fal's `x-fal-target-url` matters.
            account: Of the gateway's address; used where a vendor wants one, no other is configured and it looks like
                the vendor's.
        Returns:
            An absolute URL in ASCII. Its host is the provider's, whatever the request holds.
        Raises:
            InvalidField: The endpoint is no path below this provider.
        """
        if self.target_header:
            for name, value in headers:
                if name.lower() == self.target_header:
                    return self._target(value)
        known = self._known.get((endpoint, account))
        if known is not None:
            return known
        url = self._joined(*split_endpoint(endpoint), account)
        # Query strings may hold keys, and differ from request to request.
        if "?" not in endpoint:
            if len(self._known) >= ADDRESSES_KEPT:
                self._known.clear()
            self._known[endpoint, account] = url
        return url

    def _joined(self, path: str, query: str, account: str) -> bytes:
        base, values = self.base_url, {}
        for form in self.forms:
            found = form.match(path)
            # The operator's own server has all forms of a path below one address.
            if found is not None and not (form.base_url and self.overridden):
                base, values, path = form.base_url or base, found, fill(form.upstream, found)
                break
        if self.region:
            values = {"region": self.region} | values
        if (
            self.region_pattern
            and "{region}" in base
            and not re.fullmatch(self.region_pattern, values.get("region", ""))
        ):
            raise InvalidField(f"endpoint does not name a region of {self.slug}")
        if "{account}" in base:
            values = values | {"account": self._account(account)}
        return _url(fill(base, _host_labels(base, values)), path, query)

    def _account(self, hint: str) -> str:
        if self.account:
            return self.account
        if _CLOUDFLARE_ACCOUNT.fullmatch(hint):
            return hint
        raise InvalidField(f"{self.slug} needs an account: set account in [providers.{self.slug}]")

    def _target(self, value: bytes) -> bytes:
        """The address that a target header names, held to the vendor's hosts."""
        try:
            target = urlsplit(value.decode("ascii"))
            # Neither user name nor port, and nothing that two parsers might read differently.
            plain = target.scheme == "https" and HOST_NAME.fullmatch(target.netloc) is not None and b"#" not in value
        except ValueError:
            plain = False
        if not plain or not any(f".{target.netloc}".endswith(f".{host}") for host in self.target_hosts):
            raise InvalidField(f"{self.target_header.decode()} must be an https address of {self.slug}")
        path, query = split_endpoint(f"{target.path}?{target.query}" if target.query else target.path)
        return _url(self.base_url if self.overridden else f"https://{target.netloc}", path, query)

    # What is sent, and how the answer is read -----------------------------------------------------------------------

    def headers(self, sent: Headers) -> Headers:
        """
        The headers that go to the vendor.

        Args:
            sent: Of the step.
        Raises:
            InvalidField: A name or value cannot be sent.
        """
        return outgoing(sent, self.fixed, self.credentials, self.target_header)

    def upgrade(self, endpoint: str, sent: Headers, offered: list[str], account: str = "") -> Upgrade:
        """
        What a client's upgrade becomes on its way to the vendor.

        Args:
            endpoint: As in `address`.
            sent: The client's headers. Its credentials pass, in the position where the vendor takes them.
            offered: Subprotocols.
            account: As in `address`.
        Raises:
            NotFound: The vendor has no realtime sockets.
            InvalidField: The endpoint or a header cannot be sent.
        """
        realtime = self.realtime
        if realtime is None:
            raise NotFound(f"{self.slug} has no realtime sockets that are known here")
        endpoint, in_query = split_keys(realtime, self.credentials, endpoint)
        subprotocols, in_protocols, has_key = split_protocols(realtime, self.credentials, offered)
        path, query = split_endpoint(endpoint)
        for form in realtime.forms:
            found = form.match(path)
            if found is not None:
                path = fill(form.upstream, found)
                break
        fixed = tuple(field for field in self.fixed if not has_key or field[0] not in self.credentials)
        headers = outgoing(renamed(realtime, (*sent, *in_query, *in_protocols)), fixed, self.credentials)
        return Upgrade(
            self.address(f"{path}?{query}" if query else path, (), account),
            # An upgrade has no body.
            tuple(field for field in headers if field[0] not in (b"content-type", b"accept-encoding")),
            subprotocols,
        )

    def session_reader(self, endpoint: str) -> SessionReader:
        """A reader for one realtime session; `endpoint` as in `address`."""
        return session_reader(self.realtime.wording if self.realtime else "unknown", endpoint.partition("?")[2])

    def credentials_for(self, endpoint: str, headers: Headers) -> ICredentials | None:
        """
        What must be made before a request can be sent: a signature or a token.

        Args:
            endpoint: As in `address`.
            headers: As `headers` gave them.
        Returns:
            None when the request has all it needs, or the vendor will say what it lacks.
        Raises:
            InvalidField: The client's own credential cannot be read. Its text is not repeated.
        """
        return None if self.source is None else self.source.credentials(endpoint, headers)

    def ask(self, query: bytes | None, endpoint: str) -> Ask:
        """
        What a request asks for.

        Args:
            query: The request's body, empty when it has none; None for one that passes unread.
            endpoint: As in `address`; the model that its path names goes before the one in the body, and that of its
                query string behind it: most vendors do not look there when there is a body.
        """
        path, _, arguments = endpoint.partition("?")
        ask = UNREAD if query is None else ask_of_body(query) if query else Ask()
        named = re.search(self.model_pattern, path.strip("/")) if self.model_pattern else None
        if named is not None:
            return msgspec.structs.replace(ask, model=unquote(named[1])[:TEXT_CHARS], sure=True)
        if arguments and not ask.model:
            model, alone = model_of_query(arguments)
            sure = alone and (query == b"" or (self.query_model and bool(model)))
            return msgspec.structs.replace(ask, model=model, sure=sure)
        return ask

    def model_type(self, endpoint: str) -> str:
        """What kind of model an endpoint asks, such as `chat`; empty when its path does not tell."""
        return model_type(endpoint.partition("?")[0])

    def reader(self, endpoint: str = "") -> AnswerReader:
        """
        A reader for one answer.

        Args:
            endpoint: As in `address`; it tells what wording the answer has. Empty: that of the main address.
        """
        path = endpoint.partition("?")[0]
        own = next((family for pattern, family in self.families if re.search(pattern, path)), None)
        return reader_for(own or family_of(path, self.family), self.done_mark)


def _host_labels(base: str, values: dict[str, str]) -> dict[str, str]:
    """See that every value that becomes part of the host is one label of a host name."""
    host = base.partition("://")[2].partition("/")[0]
    for name, value in values.items():
        if f"{{{name}}}" in host and not HOST_LABEL.fullmatch(value):
            raise InvalidField(f"endpoint: the {name} must be 1 to 63 of a-z, 0-9 and '-'")
    return values


def _url(base: str, path: str, query: str) -> bytes:
    url = f"{base}/{path}" if path else base
    return (f"{url}?{query}" if query else url).encode("ascii")

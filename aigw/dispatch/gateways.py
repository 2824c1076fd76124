"""
The gateways of this server, looked up by the two names in every address.

A gateway comes from the settings file, which wins; or from what is stored, which every process follows; or it is a
`default` that nobody has declared: that of the account `local` is always there, that of another account from the first
request that shows a token for it. When it is deleted, it comes back in the same way, with the settings it began with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aigw.codecs.gateway_document import read_gateway, stored_document
from aigw.errors import AigwError, ConfigurationError
from aigw.interfaces import IDocuments
from aigw.values.gateway import Gateway

ACCOUNT = "local"
DEFAULT = "default"

Origin = Literal["file", "stored", "default"]
Check = Callable[[Gateway], Awaitable[Iterable[str]]]
_Key = tuple[str, str]


class DeclaredInFile(AigwError):
    """The gateway is declared in the settings file, and is changed only there."""


@attrs.frozen
class GatewayEntry:
    """
    A gateway with what is known of it.

    Attributes:
        gateway: The owner's settings. The same object for as long as they are unchanged.
        version: Another number for other settings; one that is stored has a greater one after each write.
        origin: `file`, `stored`, or `default` for one that nobody has declared.
        created_ms, modified_ms: Of one that is stored: UTC, milliseconds since the epoch; else 0.
    """

    gateway: Gateway
    version: int
    origin: Origin
    created_ms: int = 0
    modified_ms: int = 0


class Gateways:
    """
    All gateways, in memory.

    Args:
        declared: In the settings file.
        documents: Where the others are stored, of the kind `gateway`, their values read by `read_stored`; None: there
            are no others.
    """

    _log = Logger()

    def __init__(self, declared: Iterable[Gateway] = (), documents: IDocuments | None = None) -> None:
        self._documents = documents
        self._declared = {(one.account, one.id): _entry(one, "file") for one in declared}
        # Each `default` that is there though nobody has declared it.
        self._defaults = {(ACCOUNT, DEFAULT): _entry(Gateway(id=DEFAULT, account=ACCOUNT), "default")}
        self._entries: dict[_Key, GatewayEntry] = {}
        self._gateways: dict[_Key, Gateway] = {}
        self._storing: set[_Key] = set()
        self._shadowed: set[_Key] = set()
        self._checks: list[Check] = []
        self._calls: list[Callable[[str, str], None]] = []
        for key in (*self._defaults, *self._declared):
            self._refresh(key)
        if documents is not None:
            for stored in documents.all():
                self._refresh((stored.account, stored.name))
            documents.on_changed(self._changed)

    # What there is --------------------------------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        """False until it was read which gateways are stored: others than those that are found here may exist."""
        return self._documents is None or bool(self._documents.known)

    def find(self, account: str, name: str) -> Gateway | None:
        """The gateway of these names, or None."""
        return self._gateways.get((account, name))

    def entry(self, account: str, name: str) -> GatewayEntry | None:
        """The same, with what is known of it."""
        return self._entries.get((account, name))

    def version(self, gateway: Gateway) -> int:
        """
        Of the settings that these are.

        Args:
            gateway: From `find`, now or earlier.
        Returns:
            See `GatewayEntry`; -1 for settings that hold no more.
        """
        entry = self._entries.get((gateway.account, gateway.id))
        return entry.version if entry is not None and entry.gateway is gateway else -1

    def all(self) -> list[Gateway]:
        """Every gateway, in the order of their names."""
        return [entry.gateway for entry in self.entries()]

    def entries(self) -> list[GatewayEntry]:
        """The same, with what is known of each."""
        return [self._entries[key] for key in sorted(self._entries)]

    def shadowed(self) -> list[str]:
        """Gateways that are stored in vain, since the settings file declares them: `account/name`."""
        documents = self._documents
        if documents is None:
            return []
        return ["/".join(key) for key in sorted(self._declared) if documents.find(*key) is not None]

    def on_changed(self, call: Callable[[str, str], None]) -> None:
        """Be called with account and name of each gateway that is new, changed or gone."""
        self._calls.append(call)

    # A `default` that nobody has declared -----------------------------------------------------------------------------

    def unborn(self, account: str, name: str) -> Gateway | None:
        """
        What a request with a good token would find at an address where there is no gateway.

        Returns:
            A gateway for `met`; None where there will be none either.
        """
        if name != DEFAULT or (account, name) in self._gateways:
            return None
        return Gateway(id=name, account=account)

    def met(self, gateway: Gateway) -> None:
        """
        Be told that a request with a good token has come: a `default` is born then, and stored as soon as can be.

        Args:
            gateway: From `find` or `unborn`.
        """
        key = (gateway.account, gateway.id)
        if key not in self._gateways:
            self._defaults[key] = _entry(gateway, "default")
            self._refresh(key)
        documents = self._documents
        if documents is None or key not in self._defaults or key in self._storing or not documents.available:
            return
        if self._entries[key].origin == "default":
            self._storing.add(key)
            Deferred.fromCoroutine(self._store_default(documents, key)).addErrback(
                lambda failure: self._log.failure("A default gateway could not be stored", failure)
            )

    async def _store_default(self, documents: IDocuments, key: _Key) -> None:
        try:
            await documents.put(*key, {}, 0)
        except AigwError as error:
            # Another process was first, or the database has just gone; the next request will tell.
            self._log.info("The gateway {key} was not stored: {why}", key="/".join(key), why=str(error))
        finally:
            self._storing.discard(key)

    # Changes ----------------------------------------------------------------------------------------------------------

    def also_check(self, check: Check) -> None:
        """Ask this, too, before a gateway is stored; it gives sentences that begin with the path of a field."""
        self._checks.append(check)

    async def put(
        self, account: str, name: str, fields: Mapping[str, Any], expected_version: int | None = None
    ) -> GatewayEntry:
        """
        Store a gateway, in place of what was there: a field that is not named has its default.

        Args:
            account, name: As in its address.
            fields: By Cloudflare's names.
            expected_version: What is replaced; 0: none must be stored; None: whatever is there.
        Returns:
            The gateway as every process has it within a second.
        Raises:
            ConfigurationError: With everything that is wrong, each by the path of its field.
            DeclaredInFile: See there.
            StorageUnavailable: The database cannot be reached.
            AigwError: Somebody else has changed it meanwhile, or there are too many.
        """
        self._refuse_declared(account, name)
        gateway = read_gateway({**fields, "id": name, "account": account})
        if isinstance(gateway, list):
            raise ConfigurationError(gateway)
        problems = [problem for check in self._checks for problem in await check(gateway)]
        if problems:
            raise ConfigurationError(problems)
        await self._stored_in().put(account, name, stored_document(gateway), expected_version)
        return self._entries[account, name]

    async def delete(self, account: str, name: str, expected_version: int | None = None) -> bool:
        """
        Delete a gateway that is stored. A `default` is there again with the next request that shows a token.

        Args:
            account, name: As in its address.
            expected_version: What is deleted; None: whatever is there.
        Returns:
            Whether there was one, with that version.
        Raises:
            DeclaredInFile, StorageUnavailable: As with `put`.
        """
        self._refuse_declared(account, name)
        return await self._stored_in().delete(account, name, expected_version)

    def _refuse_declared(self, account: str, name: str) -> None:
        if (account, name) in self._declared:
            raise DeclaredInFile(
                f"`{name}` of the account `{account}` is declared in the settings file; change it there"
            )

    def _stored_in(self) -> IDocuments:
        if self._documents is None:
            raise AigwError("there is nowhere to store a gateway")
        return self._documents

    # Following what is stored -----------------------------------------------------------------------------------------

    def _changed(self, account: str, name: str) -> None:
        self._refresh((account, name))
        for call in self._calls:
            call(account, name)

    def _refresh(self, key: _Key) -> None:
        stored = None if self._documents is None else self._documents.find(*key)
        entry = self._declared.get(key)
        if stored is not None and entry is not None and key not in self._shadowed:
            self._shadowed.add(key)
            self._log.warn("The settings file wins over what is stored for the gateway {key}", key="/".join(key))
        if entry is None and stored is not None:
            entry = GatewayEntry(stored.value, stored.version, "stored", stored.created_ms, stored.modified_ms)
            if key != (ACCOUNT, DEFAULT):
                self._defaults.pop(key, None)
        entry = entry or self._defaults.get(key)
        if entry is None:
            self._entries.pop(key, None)
            self._gateways.pop(key, None)
        else:
            self._entries[key] = entry
            self._gateways[key] = entry.gateway


def _entry(gateway: Gateway, origin: Origin) -> GatewayEntry:
    # Where caches are shared, other settings must have another version also after a start.
    digest = hashlib.sha256(msgspec.json.encode(gateway)).digest()
    return GatewayEntry(gateway, int.from_bytes(digest[:7], "big"), origin)

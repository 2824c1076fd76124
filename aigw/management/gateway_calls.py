"""Gateways over the internal API, and the functions that other ways of setting them stand on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from aigw.codecs.gateway_document import ANSWER_ONLY, gateway_document
from aigw.dispatch.gateways import ACCOUNT, DEFAULT, DeclaredInFile, Gateways
from aigw.errors import ConfigurationError, StorageUnavailable
from aigw.interfaces import IDocuments
from aigw.management.call import Call, Refused
from aigw.storage.document_table import DocumentRefused, TooManyDocuments, VersionConflict
from aigw.values.moment import utc_text

_AWAY = "The database cannot be reached: gateways serve on as they are, and nothing can be changed until it is back"


class GatewayCalls:
    """
    Makes, lists, changes and deletes gateways. A change holds on every process within a second, for open sockets too.

    Args:
        gateways: Of this server.
        policies: Go with their gateway, so that another one of its name does not get them.
    """

    def __init__(self, gateways: Gateways, policies: IDocuments) -> None:
        self._gateways = gateways
        self._policies = policies

    def routes(self) -> dict[tuple[str, ...], dict[bytes, Callable[[Call], Awaitable[object]]]]:
        """As `Management.routes`."""
        one: dict[bytes, Callable[[Call], Awaitable[object]]] = {
            b"GET": self.show,
            b"PUT": self.replace,
            b"PATCH": self.change,
            b"DELETE": self.delete,
        }
        return {("gateways",): {b"GET": self.list, b"POST": self.create}, ("gateways", "*"): one}

    # Over the internal API --------------------------------------------------------------------------------------------

    async def list(self, call: Call) -> object:
        """All gateways, by account and name."""
        return {"gateways": [self._view(one.gateway.account, one.gateway.id) for one in self._gateways.entries()]}

    async def show(self, call: Call) -> object:
        """One gateway."""
        return self._view(*_names(call))

    async def create(self, call: Call) -> object:
        """The new gateway; `id`, and `account` unless it is `local`, stand among its fields."""
        fields = _fields(call)
        account, name = fields.get("account", ACCOUNT), fields.get("id", "")
        if not isinstance(account, str) or not isinstance(name, str):
            raise Refused(400, "malformed", "id: expected text")
        entry = self._gateways.entry(account, name)
        if entry is not None and entry.origin != "default":
            raise Refused(409, "exists", f"There is a gateway `{name}` already; see `aigw gateway set`")
        return await self.put_gateway(account, name, fields, 0)

    async def replace(self, call: Call) -> object:
        """The gateway with the fields that are given, and no others of those before."""
        account, name = _names(call)
        self._view(account, name)
        return await self.put_gateway(account, name, _fields(call))

    async def change(self, call: Call) -> object:
        """The gateway with the fields that are given over those before."""
        account, name = _names(call)
        before = self._view(account, name)
        entry = self._gateways.entry(account, name)
        version = entry.version if entry is not None and entry.origin == "stored" else 0
        return await self.put_gateway(account, name, {**before, **_fields(call)}, version)

    async def delete(self, call: Call) -> object:
        """The gateway as it was."""
        account, name = _names(call)
        before = self._view(account, name)
        if before["origin"] == "default":
            raise Refused(404, "not-stored", f"`{name}` has never been changed: there is nothing to delete")
        await self.delete_gateway(account, name)
        return before

    # For every way of setting gateways --------------------------------------------------------------------------------

    async def put_gateway(
        self, account: str, name: str, fields: Mapping[str, Any], expected_version: int | None = None
    ) -> dict[str, Any]:
        """
        Store a gateway in place of what was there.

        Args:
            account, name: As in its address.
            fields: By Cloudflare's names; what is not named has its default, and what only answers hold is passed over.
            expected_version: What is replaced; 0: none must be stored; None: whatever is there.
        Returns:
            The gateway as it is shown.
        Raises:
            Refused: 400 with every mistake by the path of its field; 409 for one of the settings file, or when somebody
                else was faster; 503 without database.
        """
        named = {key: value for key, value in fields.items() if key not in ANSWER_ONLY}
        try:
            await self._gateways.put(account, name, named, expected_version)
        except ConfigurationError as error:
            raise Refused(400, "settings", "\n".join(error.problems)) from error
        except DeclaredInFile as error:
            raise Refused(409, "declared", str(error)) from error
        except VersionConflict as error:
            raise Refused(
                409, "conflict", f"Somebody else changed the gateway `{name}` just now; look again"
            ) from error
        except (TooManyDocuments, DocumentRefused) as error:
            raise Refused(409, "refused", str(error)) from error
        except StorageUnavailable as error:
            raise Refused(503, "database", _AWAY) from error
        return self._view(account, name)

    async def delete_gateway(self, account: str, name: str) -> bool:
        """
        Delete a gateway.

        Returns:
            Whether one was stored.
        Raises:
            Refused: As `put_gateway`.
        """
        try:
            deleted = await self._gateways.delete(account, name)
            if deleted:
                await self._policies.delete(account, name)
            return deleted
        except DeclaredInFile as error:
            raise Refused(409, "declared", str(error)) from error
        except StorageUnavailable as error:
            raise Refused(503, "database", _AWAY) from error

    def _view(self, account: str, name: str) -> dict[str, Any]:
        """
        Raises:
            Refused: There is none.
        """
        entry = self._gateways.entry(account, name)
        if entry is None:
            raise Refused(404, "no-such-gateway", f"There is no gateway `{name}`; see `aigw gateway list`")
        return {
            **gateway_document(entry.gateway),
            "is_default": name == DEFAULT,
            "origin": entry.origin,
            "version": entry.version,
            "created_at": utc_text(entry.created_ms) if entry.created_ms else None,
            "modified_at": utc_text(entry.modified_ms) if entry.modified_ms else None,
        }


def _names(call: Call) -> tuple[str, str]:
    return call.query.get("account", ACCOUNT), call.name


def _fields(call: Call) -> dict[str, Any]:
    try:
        return msgspec.json.decode(call.body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(400, "malformed", f"The body cannot be read: {error}") from error

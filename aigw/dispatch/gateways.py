"""The gateways of this server, looked up by the two names in every address."""

from __future__ import annotations

from collections.abc import Iterable

from aigw.values.gateway import Gateway

ACCOUNT = "local"
DEFAULT = "default"


class Gateways:
    """
    A snapshot in memory.

    Args:
        declared: By the owner; a `default` of the account `local` is there even when none is declared.
    """

    def __init__(self, declared: Iterable[Gateway] = ()) -> None:
        self._gateways = {(ACCOUNT, DEFAULT): Gateway(id=DEFAULT, account=ACCOUNT)}
        self._gateways.update({(gateway.account, gateway.id): gateway for gateway in declared})

    def find(self, account: str, name: str) -> Gateway | None:
        """The gateway of these names, or None."""
        return self._gateways.get((account, name))

    def all(self) -> list[Gateway]:
        """Every gateway, in the order of their names."""
        return [self._gateways[key] for key in sorted(self._gateways)]

"""Policies over the internal API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from aigw.management.call import Call, Refused
from aigw.management.policies import ManagedPolicies
from aigw.values.policy import PolicyPlace


class PolicyCalls:
    """
    Reads out of a call which gateway and which policy is meant: `?account=&gateway=&includeStaging=&commit=`.

    Args:
        policies: Does the work; see there for the answers.
    """

    def __init__(self, policies: ManagedPolicies) -> None:
        self._policies = policies

    def routes(self) -> dict[tuple[str, ...], dict[bytes, Callable[[Call], Awaitable[object]]]]:
        """As in `aigw.management.internal_api`."""
        return {
            ("policies",): {b"GET": self.list, b"POST": self.create},
            ("policies", "commit"): {b"POST": self.commit},
            ("policies", "simulate"): {b"POST": self.simulate},
            ("policies", "*"): {b"GET": self.show, b"PUT": self.update, b"DELETE": self.delete},
        }

    async def list(self, call: Call) -> object:
        """See `ManagedPolicies.list`."""
        return await self._policies.list(_place(call), _flag(call, "includeStaging"))

    async def show(self, call: Call) -> object:
        """See `ManagedPolicies.show`."""
        return await self._policies.show(_place(call), call.name, _flag(call, "includeStaging"))

    async def create(self, call: Call) -> object:
        """See `ManagedPolicies.create`."""
        return await self._policies.create(_place(call), call.body, _flag(call, "commit"))

    async def update(self, call: Call) -> object:
        """See `ManagedPolicies.update`."""
        return await self._policies.update(_place(call), call.name, call.body, _flag(call, "commit"))

    async def delete(self, call: Call) -> object:
        """See `ManagedPolicies.delete`."""
        return await self._policies.delete(_place(call), call.name)

    async def commit(self, call: Call) -> object:
        """See `ManagedPolicies.commit`."""
        return await self._policies.commit(_place(call))

    async def simulate(self, call: Call) -> object:
        """See `ManagedPolicies.simulate`."""
        return await self._policies.simulate(_place(call), call.body)


def _place(call: Call) -> PolicyPlace:
    names = {"account": call.query.get("account", "local"), "gateway": call.query.get("gateway", "default")}
    try:
        return msgspec.convert(names, PolicyPlace)
    except msgspec.ValidationError as error:
        raise Refused(400, "malformed", f"Account or gateway: {error}") from error


def _flag(call: Call, key: str) -> bool:
    text = call.query.get(key, "false")
    if text not in ("true", "false"):
        raise Refused(400, "malformed", f"`{key}` is `true` or `false`")
    return text == "true"

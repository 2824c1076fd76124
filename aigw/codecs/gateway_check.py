"""What is wrong with a gateway's settings although each is right by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from aigw.codecs.settings_check import nearest
from aigw.values.gateway import Gateway, SpendFilter, SpendRule
from aigw.values.kept_settings import Dlp
from aigw.values.limits import LimitRule
from aigw.values.setting_headers import EVERY, LOCKABLE, PREFIX, header_name

MOST_USD = 1_000_000_000
_NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f]")


def contradictions(gateway: Gateway) -> Iterator[str]:
    """
    Mistakes that concern more than one value, or what a value means.

    Args:
        gateway: Its values have the right form.
    Returns:
        Sentences, each beginning with the path of a field.
    """
    if gateway.rate_limiting_limit and not gateway.rate_limiting_interval:
        yield "rate_limiting_interval: expected at least 1, for there is a `rate_limiting_limit`"
    yield from limit_rule_problems(gateway.rate_limits, "rate_limits")
    if gateway.spend_limits is not None:
        yield from _spend_rule_problems(gateway.spend_limits.rules, "spend_limits.rules")
    yield from lock_problems(gateway.locked, "locked")
    if gateway.dlp is not None:
        yield from _dlp_problems(gateway.dlp)
    addresses = {"spend_webhook": gateway.spend_webhook}
    addresses["semantic_cache.url"] = gateway.semantic_cache.url if gateway.semantic_cache else None
    addresses.update({f"otel[{index}].url": target.url for index, target in enumerate(gateway.otel or ())})
    for path, address in addresses.items():
        if address is not None:
            yield from _address_problems(address, path)


def limit_rule_problems(rules: Iterable[LimitRule], path: str) -> Iterator[str]:
    """
    What is wrong with rules that are right one by one: of a gateway, a token or a team.

    Args:
        rules: In their order.
        path: Of the list.
    """
    yield from _repeated((rule.id for rule in rules), path)
    for index, rule in enumerate(rules):
        at = f"{path}[{index}]"
        if rule.unit == "usd" and rule.limit > MOST_USD:
            yield f"{at}.limit: expected at most {MOST_USD} US dollars"
        if rule.unit != "usd" and not float(rule.limit).is_integer():
            yield f"{at}.limit: expected a whole number of {rule.unit}"
        if len(set(rule.per)) < len(rule.per):
            yield f"{at}.per: names something twice"
        yield from (
            f"{at}.metadata.{key}: expected at least one value" for key, values in rule.metadata.items() if not values
        )


def lock_problems(names: Iterable[str], path: str) -> Iterator[str]:
    """
    Headers that cannot be locked, because nobody knows them or because they set nothing.

    Args:
        names: As the owner wrote them.
        path: Of the list.
    """
    known = [name.decode() for name in sorted(LOCKABLE)]
    for index, name in enumerate(names):
        header = header_name(name)
        if name != EVERY and header not in LOCKABLE:
            hint = nearest(header.decode(), known)
            yield f"{path}[{index}]: expected `{EVERY}` or the name of a `{PREFIX}*` header that sets something{hint}"


def _spend_rule_problems(rules: Iterable[SpendRule], path: str) -> Iterator[str]:
    yield from _repeated((rule.id for rule in rules), path)
    for index, rule in enumerate(rules):
        at = f"{path}[{index}]"
        filters: Mapping[str, SpendFilter | None] = {
            **{f"{at}.metadata.{key}": entry for key, entry in rule.metadata.items()},
            f"{at}.model": rule.model,
            f"{at}.provider": rule.provider,
        }
        for where, entry in filters.items():
            if entry is None:
                continue
            if entry.mode == "filter" and not entry.values:
                yield f"{where}.values: expected at least one, for the mode is `filter`"
            elif entry.mode == "partition" and entry.values:
                yield f"{where}.values: expected none, for the mode is `partition`"
        for where in ("model", "provider"):
            held = filters[f"{at}.{where}"]
            if held is not None and held.mode != "filter":
                yield f"{at}.{where}.mode: expected `filter`; only metadata has partitions"


def _repeated(ids: Iterable[str], path: str) -> Iterator[str]:
    seen: dict[str, int] = {}
    for index, name in enumerate(ids):
        if name and name in seen:
            yield f"{path}[{index}].id: `{name}` is the id of {path}[{seen[name]}] already"
        seen.setdefault(name, index)


def _dlp_problems(dlp: Dlp) -> Iterator[str]:
    if dlp.policies and (dlp.action or dlp.profiles):
        yield "dlp.policies: expected none beside `dlp.action` and `dlp.profiles`, or the policies alone"
    if dlp.profiles and not dlp.action:
        yield "dlp.action: missing; expected one of `FLAG`, `BLOCK`"
    yield from _repeated((policy.id for policy in dlp.policies), "dlp.policies")


def _address_problems(address: str, path: str) -> Iterator[str]:
    """The address is not repeated: it may hold a password."""
    try:
        parts = urlsplit(address)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not address.isascii() or _NOT_IN_A_URL.search(address):
        yield f"{path}: expected an address that begins with `https://` or `http://`"

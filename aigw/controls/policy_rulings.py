"""One gateway's policies in force, compiled, and what they said of callers before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

import attrs
import msgspec
from twisted.logger import Logger

from aigw.controls.limit import SPEND, Limit, Overrun
from aigw.controls.policy_book import PolicyBook, PolicyRefused, read_policy, ready
from aigw.controls.policy_condition import Facts
from aigw.controls.policy_evaluation import Bucket, CompiledPolicy, Judged, evaluate, judge
from aigw.controls.visit import Visit
from aigw.controls.windows import named
from aigw.errors import PolicyLimitExceeded
from aigw.values.policy import Cap, Policy

_log = Logger()
_encode = msgspec.json.Encoder().encode

# Callers (with their metadata) that are remembered, and models for each of them.
KNOWN_CALLERS = 4_096
KNOWN_MODELS = 64

_NANOUSD = 1_000_000_000
# What a caller is told of a bucket's name, which may hold the caller's own metadata.
_SHOWN_CHARS = 256


@attrs.frozen
class Ruling:
    """
    What holds for a request.

    Attributes:
        denied: Why it is refused, for the log; None: it is not.
        limits: What it must fit into.
    """

    denied: str | None
    limits: tuple[Limit, ...] = ()


_Rulings = dict[tuple[str, str | None], Ruling]


class PolicyRulings:
    """
    The policies of one gateway, as long as nobody changes them.

    Args:
        account, gateway: Names.
        book: All of them.

    Attributes:
        any: Whether any policy is in force; without, everything is allowed.
        defective: Whether one in force cannot be read by this release, so that nobody can say what it would say.
    """

    def __init__(self, account: str, gateway: str, book: PolicyBook) -> None:
        self._place = f"{account}/{gateway}"
        self._compiled: list[CompiledPolicy] = []
        self.any = bool(book.committed)
        self.defective = False
        # By id: which of two policies blocks does not depend on which was there first.
        for policy_id in sorted(book.committed):
            try:
                self._compiled.append(ready(read_policy(book.committed[policy_id])))
            except PolicyRefused as error:
                self.defective = True
                _log.error(
                    "Policy {policy} of {place} cannot be read: {why}",
                    policy=policy_id,
                    place=self._place,
                    why=str(error),
                )
        self._known: OrderedDict[tuple[bytes, bytes, str, bool], tuple[tuple[Judged, ...], _Rulings]] = OrderedDict()

    def rule(self, visit: Visit) -> Ruling:
        """What the policies say of a step. Takes about a microsecond when caller and model were here before."""
        identity = visit.caller.identity
        is_open = visit.gateway.policies_when_down == "open"
        key = (_encode(identity) if identity else b"", visit.raw_metadata, visit.country, is_open)
        known = self._known.get(key)
        if known is None:
            known = self._judge(visit), {}
            self._known[key] = known
            if len(self._known) > KNOWN_CALLERS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        judged, rulings = known
        target = (visit.target.provider, visit.target.model if visit.ask.sure else None)
        ruling = rulings.get(target)
        if ruling is None:
            if len(rulings) >= KNOWN_MODELS:
                rulings.clear()
            ruling = rulings[target] = self._rule(judged, *target, is_open)
        return ruling

    def known(self) -> tuple[int, int]:
        """How many callers are remembered, and how many models at the most for one of them."""
        return len(self._known), max((len(rulings) for _, rulings in self._known.values()), default=0)

    def _judge(self, visit: Visit) -> tuple[Judged, ...]:
        return judge(self._compiled, Facts(visit.caller.identity, visit.metadata, visit.country))

    def _rule(self, judged: tuple[Judged, ...], provider: str, model: str | None, is_open: bool) -> Ruling:
        evaluation = evaluate(judged, provider, model)
        if evaluation.blocked_by is not None:
            return Ruling(f"`{evaluation.blocked_by.name}`")
        if not evaluation.buckets and not self.defective:
            return Ruling("none allows this")
        checked = [bucket for bucket in evaluation.buckets if not bucket.unlimited]
        return Ruling(None, tuple(self._limit(bucket, *cap, is_open) for bucket in checked for cap in bucket.caps))

    def _limit(self, bucket: Bucket, cap: Cap, policy: Policy, is_open: bool) -> Limit:
        # A digest: buckets are named after people, and a caller's metadata may be long.
        digest = blake2b(_encode((bucket.actor, bucket.resource)), digest_size=16).hexdigest()
        return Limit(
            key=f"{SPEND}policy:{self._place}:{digest}:{cap.period}",
            unit="usd",
            limit=max(1, round(cap.amount * _NANOUSD)),
            window=named(cap.period),
            name=policy.name,
            refusal=partial(_overspent, bucket.id[:_SHOWN_CHARS]),
            open=is_open,
            alert=True,
        )


def read_rulings(account: str, gateway: str, document: Mapping[str, Any]) -> PolicyRulings:
    """
    The policies of a stored document, for a store of documents. Never leaves a single policy out silently: what cannot
    be read makes the rulings defective.
    """
    try:
        book = PolicyBook.of(document)
    except PolicyRefused:
        # One that nobody can read stands for whatever there was.
        book = PolicyBook({"": {}})
    return PolicyRulings(account, gateway, book)


def _overspent(bucket: str, overrun: Overrun, visit: Visit) -> PolicyLimitExceeded:
    return PolicyLimitExceeded(bucket, overrun.used / _NANOUSD, overrun.limit / _NANOUSD)

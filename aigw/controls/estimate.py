"""
What a request will use, before anybody knows: what limits of tokens and dollars take until it is known.

Two numbers are made of each request. The *amount* is what it may come to: the tokens of its body, and all the output
that it asks for. The *need* is what it certainly uses: its input, or the whole price where that is fixed. A limit lets
a request through when its need fits, and then takes its amount:

- A request that asks for far more output than it will get (`max_tokens` of 100,000 and an answer of 50) is let through
  while its input still fits, however little is left.
- What it may come to counts against all that come while it runs, so many at once cannot each see the same room. What
  is spent beyond the limit is at most what one request comes to beyond its need, and by how much real answers exceed
  their estimates while they are in flight.
- When it ends, what it really used takes the estimate's place.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated

import msgspec
from msgspec import Meta

from aigw.controls.visit import Visit
from aigw.errors import UnpricedModel
from aigw.values.limits import Unit
from aigw.values.usage import Usage

# English text in JSON has about four bytes a token.
_BYTES_PER_TOKEN = 4

# Sound and pictures stand in JSON as base64, and are counted by no vendor by their bytes. In short bodies there are
# none to look for.
_MEDIA_FROM_BYTES = 16_384
_MEDIA_BEGINS = (b";base64,", b'"data":"', b'"data": "')
_MEDIA_TOKENS = 1_500

# Kinds of models that answer without tokens, or with none that are charged.
_NO_OUTPUT = frozenset(("embeddings", "moderation", "rerank", "image", "speech", "transcription"))

MODELS_KEPT = 4096

# How much each answer moves the kept mean.
_WEIGHT = 0.1

# A million dollars, or as many tokens as a thousand of them: more than any request comes to, and its sums fit a store.
_MOST = 10**15


class EstimateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is assumed of requests before their answer tells."""

    output_tokens: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Output tokens of a request that names no maximum to a model not heard of before.",
        ),
    ] = 1_000
    unpriced_input_usd: Annotated[
        float,
        Meta(
            ge=0,
            le=1_000_000,
            description="US dollars a million input tokens, where a gateway has unpriced models estimated.",
        ),
    ] = 5.0
    unpriced_output_usd: Annotated[
        float,
        Meta(ge=0, le=1_000_000, description="US dollars a million output tokens, likewise."),
    ] = 15.0


class Estimates:
    """
    Makes estimates, and learns from answers.

    Args:
        settings: See there.
    """

    def __init__(self, settings: EstimateSettings) -> None:
        self._settings = settings
        # By provider and model; the one heard of longest ago comes first.
        self._means: OrderedDict[tuple[str, str], float] = OrderedDict()

    def usage(self, visit: Visit) -> Usage:
        """The tokens that a step may come to."""
        return Usage(input_tokens(visit), self._output_tokens(visit))

    def _output_tokens(self, visit: Visit) -> int:
        ask, target = visit.ask, visit.target
        if target.model_type in _NO_OUTPUT:
            return 0
        if ask.output_tokens:
            return ask.output_tokens * ask.answers
        mean = self._means.get((target.provider, target.model))
        return self._settings.output_tokens * ask.answers if mean is None else int(mean) + 1

    def learn(self, visit: Visit, usage: Usage) -> None:
        """A step has been answered; its numbers improve the next estimate, unless they are a guess themselves."""
        if usage.estimated:
            return
        means = self._means
        key = (visit.target.provider, visit.target.model)
        mean = means.get(key)
        means[key] = usage.tokens_out if mean is None else mean + (usage.tokens_out - mean) * _WEIGHT
        means.move_to_end(key)
        if len(means) > MODELS_KEPT:
            means.popitem(last=False)

    def amount(self, visit: Visit, unit: Unit, usage: Usage) -> int:
        """
        What a step may come to, in a limit's unit.

        Args:
            visit: The step.
            unit: Of the limit.
            usage: From `usage`.
        Raises:
            UnpricedModel: Nobody knows the price, and the owner wants such a step refused.
        """
        if unit == "requests":
            return 1
        if unit == "tokens":
            return max(1, min(usage.tokens_in + usage.tokens_out, _MOST))
        cost = visit.price(usage)
        if cost is None and usage.tokens_out:
            # A model may have no price for output because it gives none.
            cost = visit.price(Usage(usage.tokens_in, 0))
        return max(1, min(self.unpriced(visit, usage) if cost is None else cost, _MOST))

    def need(self, visit: Visit, unit: Unit, usage: Usage) -> int:
        """
        What a step certainly uses: its amount without the output. A fixed price is the same without output.

        Args, Raises:
            As `amount`.
        """
        return self.amount(visit, unit, Usage(usage.tokens_in, 0))

    def unpriced(self, visit: Visit, usage: Usage) -> int:
        """
        Nano-dollars that count for a usage without a price: none, or those of the assumed one.

        Raises:
            UnpricedModel: As `amount`.
        """
        choice = visit.gateway.unpriced_models
        if choice == "refuse":
            raise UnpricedModel(f"{visit.target.provider} {visit.target.model}")
        if choice == "allow":
            return 0
        # A dollar a million tokens is a thousand nano-dollars a token.
        settings = self._settings
        usd = usage.tokens_in * settings.unpriced_input_usd + usage.tokens_out * settings.unpriced_output_usd
        return round(usd * 1000)


def input_tokens(visit: Visit) -> int:
    """About how many tokens a step's body holds; a body that streams through is not looked at."""
    body = visit.request.body
    if not isinstance(body, bytes):
        return 1
    if len(body) < _MEDIA_FROM_BYTES:
        return len(body) // _BYTES_PER_TOKEN + 1
    if body[:1] not in b"{[":
        # A form with a file in it.
        return _MEDIA_TOKENS
    media, media_bytes = _media(body)
    return (len(body) - media_bytes) // _BYTES_PER_TOKEN + media * _MEDIA_TOKENS + 1


def _media(body: bytes) -> tuple[int, int]:
    """How many pieces of sound or pictures a JSON body holds, and their bytes."""
    count = total = 0
    for mark in _MEDIA_BEGINS:
        at = body.find(mark)
        while at >= 0:
            begin = at + len(mark)
            end = body.find(b'"', begin)
            if end < 0:
                break
            count += 1
            total += end - begin
            at = body.find(mark, end)
    return count, total

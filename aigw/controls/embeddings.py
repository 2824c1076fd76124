"""Texts as vectors: the client of an OpenAI-compatible embeddings endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from aigw.errors import ConfigurationError, ProviderFailed
from aigw.interfaces import IOutboundHTTP
from aigw.values.gateway import SemanticCache

# A number of a vector as JSON, with room.
NUMBER_BYTES = 32
ENVELOPE_BYTES = 16_384


class _Item(msgspec.Struct):
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Item]


_decode = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.encode


class Embeddings:
    """
    Args:
        outbound: Asks.
        environ: Holds the endpoints' keys.
    """

    def __init__(self, outbound: IOutboundHTTP, environ: Mapping[str, str]) -> None:
        self._outbound = outbound
        self._environ = environ

    def check(self, settings: SemanticCache) -> None:
        """
        See that the endpoint can be asked.

        Raises:
            ConfigurationError: Its key is not where the settings say.
        """
        name = settings.api_key_env
        if name and not self._environ.get(name):
            raise ConfigurationError([f"semantic_cache.api_key_env: the environment has no variable {name}"])

    async def embed(self, settings: SemanticCache, text: str, timeout_s: float) -> Sequence[float]:
        """
        The vector of a text.

        Args:
            settings: Name the endpoint and its model.
            text: See there.
            timeout_s: For the whole answer.
        Raises:
            ProviderFailed: There is no vector that can be used.
        """
        key = self._environ.get(settings.api_key_env, "") if settings.api_key_env else ""
        headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)
        if key:
            headers += ((b"authorization", b"Bearer " + key.encode()),)
        answer = await self._outbound.request(
            b"POST",
            settings.url.encode("ascii"),
            headers,
            _encode({"model": settings.model, "input": text}),
            timeout_s,
            settings.dimensions * NUMBER_BYTES + ENVELOPE_BYTES,
        )
        if answer.status != 200:
            # What it says may repeat the text.
            raise ProviderFailed(f"the embeddings endpoint gave status {answer.status}")
        try:
            (item,) = _decode(answer.body).data
        except (msgspec.MsgspecError, RecursionError, ValueError):
            raise ProviderFailed("the embeddings endpoint gave no vector") from None
        vector = item.embedding
        if len(vector) != settings.dimensions or not any(vector):
            raise ProviderFailed(
                f"the embeddings endpoint gave {len(vector)} dimensions, not the {settings.dimensions} of the settings"
                if len(vector) != settings.dimensions
                else "the embeddings endpoint gave a vector without a direction"
            )
        return vector

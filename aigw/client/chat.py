"""A conversation in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from aigw.client.connection import GatewayClient

# Where chats live below a provider, where that is not `chat/completions`, and what a body needs beside messages.
_ENDPOINTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "anthropic": ("v1/messages", {"max_tokens": 4096}),
    "grok": ("v1/chat/completions", {}),
    "mistral": ("v1/chat/completions", {}),
    "openrouter": ("v1/chat/completions", {}),
    "workers-ai": ("v1/chat/completions", {}),
}
_USUAL: tuple[str, Mapping[str, Any]] = ("chat/completions", {})


@attrs.frozen
class Partner:
    """
    Whom to talk to.

    Attributes:
        provider: Slug.
        model: As the provider names it.
        endpoint: Path below the provider; empty for the usual one.
        headers: For the provider, such as its key.
    """

    provider: str
    model: str
    endpoint: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)


class Chat:
    """
    Turns of one conversation, each answer streamed as it comes.

    Args:
        client: An open connection.
        partner: See there.
        piece: Called with each piece of an answer as the provider worded it.
        text: Called with the text in each piece.
    """

    def __init__(
        self, client: GatewayClient, partner: Partner, piece: Callable[[Any], None], text: Callable[[str], None]
    ) -> None:
        self._client = client
        self._partner = partner
        self._piece = piece
        self._text = text
        self._messages: list[dict[str, str]] = []

    async def say(self, message: str) -> Mapping[str, Any]:
        """
        Take a turn.

        Args:
            message: What the person says.
        Returns:
            The answer's metadata.
        Raises:
            ClientFailure: There was no whole answer; the turn is as if it had not been.
        """
        partner = self._partner
        endpoint, more = _ENDPOINTS.get(partner.provider, _USUAL)
        messages = [*self._messages, {"role": "user", "content": message}]
        said: list[str] = []

        def hear(piece: Any) -> None:
            self._piece(piece)
            if text := text_of(piece):
                said.append(text)
                self._text(text)

        query = {"model": partner.model, "messages": messages, "stream": True, **more}
        answer = self._client.create(partner.provider, partner.endpoint or endpoint, query, partner.headers, piece=hear)
        whole = await answer.whole()
        if whole is not None:
            # Some providers answer in one piece, whatever they were asked.
            hear(whole)
        self._messages = [*messages, {"role": "assistant", "content": "".join(said)}]
        return answer.metadata


def text_of(piece: Any) -> str:
    """
    The text in one piece of an answer.

    Args:
        piece: A chunk or a whole answer as OpenAI, Anthropic or Workers AI word it.
    Returns:
        Empty when there is none that is known.
    """
    if not isinstance(piece, dict):
        return ""
    found: Any = piece.get("response")
    for choice in _items(piece.get("choices")):
        part = choice.get("delta") or choice.get("message")
        found = part.get("content") if isinstance(part, dict) else choice.get("text")
    if isinstance(piece.get("delta"), dict):
        found = piece["delta"].get("text")
    content = _items(piece.get("content"))
    if content:
        found = "".join(str(block.get("text") or "") for block in content)
    return found if isinstance(found, str) else ""


def _items(value: Any) -> Sequence[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []

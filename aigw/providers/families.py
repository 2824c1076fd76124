"""
Families of answers: which wording of usage, model and end mark a path speaks.

Most vendors speak several, each on its own path, so the path decides and the vendor only where the path does not.
"""

from __future__ import annotations

from typing import Literal

Family = Literal[
    "openai-chat",
    "openai-responses",
    "anthropic",
    "google",
    "cohere",
    "workers-ai",
    "huggingface",
    "bedrock-invoke",
    "bedrock-converse",
    "generic",
]

_BY_SUFFIX: tuple[tuple[str, Family], ...] = (
    ("/chat/completions", "openai-chat"),
    ("/completions", "openai-chat"),
    ("/embeddings", "openai-chat"),
    ("/responses", "openai-responses"),
    ("/v1/messages", "anthropic"),
    (":generateContent", "google"),
    (":streamGenerateContent", "google"),
)


def family_of(path: str, vendor: Family) -> Family:
    """
    The family of one address.

    Args:
        path: Below the provider, without its query string; empty for the vendor's main address.
        vendor: The family of the vendor's main address.
    """
    path = "/" + path.strip("/")
    if path == "/":
        return vendor
    for suffix, family in _BY_SUFFIX:
        if path.endswith(suffix):
            return family
    # Vendors of OpenAI's wording have it on the paths above; their images, audio and files each have their own.
    return "generic" if vendor == "openai-chat" else vendor

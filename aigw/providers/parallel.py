"""Parallel. https://docs.parallel.ai/api-reference"""

from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="parallel",
    base_url="https://api.parallel.ai",
    # The second one for its chat, which takes OpenAI's SDKs.
    credentials=(b"x-api-key", b"authorization"),
    # Tasks, searches and lists; its chat is found by its path.
    family="generic",
)

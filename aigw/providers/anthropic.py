"""Anthropic. https://docs.anthropic.com/en/api"""

from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="anthropic",
    base_url="https://api.anthropic.com",
    # Newer SDKs send their key as a bearer.
    credentials=(b"x-api-key", b"authorization"),
    family="anthropic",
    prices="anthropic",
)

"""Anthropic. https://docs.anthropic.com/en/api"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="anthropic",
    base_url="https://api.anthropic.com",
    forms=(
        Form("messages", "v1/messages"),
        Form("messages/{rest}", "v1/messages/{rest}"),
        Form("models", "v1/models"),
    ),
    # Newer SDKs send their key as a bearer.
    credentials=(b"x-api-key", b"authorization"),
    family="anthropic",
    prices="anthropic",
)

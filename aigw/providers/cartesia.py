"""Cartesia. https://docs.cartesia.ai/api-reference"""

from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="cartesia",
    base_url="https://api.cartesia.ai",
    credentials=(b"x-api-key", b"authorization"),
)

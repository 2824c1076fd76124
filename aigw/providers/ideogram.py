"""Ideogram. https://developer.ideogram.ai/api-reference"""

from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="ideogram",
    base_url="https://api.ideogram.ai",
    credentials=(b"api-key",),
)

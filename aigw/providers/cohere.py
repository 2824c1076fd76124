"""Cohere. https://docs.cohere.com/reference"""

from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="cohere",
    base_url="https://api.cohere.com",
    family="cohere",
    prices="cohere",
)

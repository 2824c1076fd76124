"""Mistral. https://docs.mistral.ai/api/"""

from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="mistral",
    base_url="https://api.mistral.ai",
    family="openai-chat",
    prices="mistral",
)

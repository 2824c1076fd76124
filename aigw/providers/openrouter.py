"""OpenRouter. https://openrouter.ai/docs/api-reference"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="openrouter",
    base_url="https://openrouter.ai/api/v1",
    forms=(Form("v1/{rest}", "{rest}"), Form("api/v1/{rest}", "{rest}")),
    family="openai-chat",
    prices="openrouter",
)

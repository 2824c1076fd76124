"""Cerebras. https://inference-docs.cerebras.ai/api-reference"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="cerebras",
    base_url="https://api.cerebras.ai/v1",
    forms=(Form("v1/{rest}", "{rest}"),),
    family="openai-chat",
    prices="cerebras",
)

"""Fireworks. https://docs.fireworks.ai/api-reference"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="fireworks",
    base_url="https://api.fireworks.ai/inference/v1",
    forms=(Form("v1/{rest}", "{rest}"), Form("inference/v1/{rest}", "{rest}")),
    family="openai-chat",
    prices="fireworks",
)

"""Groq. https://console.groq.com/docs/api-reference"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="groq",
    base_url="https://api.groq.com/openai/v1",
    # Groq's SDK appends its whole path to whatever base address it is given.
    forms=(Form("openai/v1/{rest}", "{rest}"), Form("v1/{rest}", "{rest}")),
    family="openai-chat",
    prices="groq",
)

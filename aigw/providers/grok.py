"""xAI's Grok. https://docs.x.ai/docs/api-reference"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="grok",
    base_url="https://api.x.ai/v1",
    # Its Messages form, for Anthropic's SDKs, carries the key as they do.
    credentials=(b"authorization", b"x-api-key"),
    forms=(Form("v1/{rest}", "{rest}"),),
    family="openai-chat",
    prices="x-ai",
    aliases=("xai",),
)

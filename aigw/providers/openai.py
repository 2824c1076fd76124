"""OpenAI. https://platform.openai.com/docs/api-reference"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="openai",
    base_url="https://api.openai.com/v1",
    # SDKs and the npm provider ask below `v1/`, Cloudflare's own examples do not.
    forms=(Form("v1/{rest}", "{rest}"),),
    family="openai-chat",
    prices="openai",
)

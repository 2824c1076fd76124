"""The built-in provider that answers without any key, in OpenAI's form."""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="sandbox",
    base_url="sandbox://local",
    forms=(Form("v1/{rest}", "{rest}"),),
    family="openai-chat",
    prices="sandbox",
)

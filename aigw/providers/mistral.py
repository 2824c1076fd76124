"""Mistral. https://docs.mistral.ai/api/"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="mistral",
    base_url="https://api.mistral.ai",
    # The forms without a version, as clients of OpenAI's wording write them.
    forms=(
        Form("chat/{rest}", "v1/chat/{rest}"),
        Form("embeddings", "v1/embeddings"),
        Form("models", "v1/models"),
    ),
    family="openai-chat",
    prices="mistral",
)

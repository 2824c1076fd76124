"""Hugging Face. https://huggingface.co/docs/inference-providers"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="huggingface",
    # The host that Cloudflare's pages name, api-inference.huggingface.co, answers every call with 410 and this address.
    base_url="https://router.huggingface.co/hf-inference/models",
    forms=(Form("v1/{rest}", "{rest}", "https://router.huggingface.co/v1"),),
    family="huggingface",
    # `{model}` or `{owner}/{model}`, perhaps with OpenAI's path or a pipeline behind it.
    model_pattern=r"^(?!v1/)(.+?)(?:/v1/.*|/pipeline/.*)?$",
)

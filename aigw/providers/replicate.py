"""Replicate. https://replicate.com/docs/reference/http"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="replicate",
    base_url="https://api.replicate.com/v1",
    forms=(Form("v1/{rest}", "{rest}"),),
    model_pattern=r"(?:models|deployments)/([^/]+/[^/]+)",
)

"""Baseten. https://docs.baseten.co/reference"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="baseten",
    base_url="https://inference.baseten.co",
    # A deployed model has a host of its own.
    forms=(
        Form("model/{id}", "production/predict", "https://model-{id}.api.baseten.co"),
        Form("model/{id}/{rest}", "{rest}", "https://model-{id}.api.baseten.co"),
        Form("chat/completions", "v1/chat/completions"),
    ),
    family="openai-chat",
    prices="baseten",
    model_pattern=r"^model/([^/]+)",
)

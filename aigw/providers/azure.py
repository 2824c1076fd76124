"""Azure AI Foundry, for Anthropic's models. https://learn.microsoft.com/azure/ai-foundry/"""

from aigw.providers.entra_tokens import ENTRA
from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="azure",
    base_url="https://{resource}.services.ai.azure.com",
    credentials=(b"x-api-key", b"api-key", b"authorization"),
    forms=(Form("{resource}/{rest}", "{rest}"),),
    family="anthropic",
    prices="azure",
    scheme=ENTRA,
)

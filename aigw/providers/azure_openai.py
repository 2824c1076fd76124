"""Azure OpenAI. https://learn.microsoft.com/azure/ai-services/openai/reference"""

from aigw.providers.entra_tokens import ENTRA
from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="azure-openai",
    base_url="https://{resource}.openai.azure.com",
    credentials=(b"api-key", b"authorization"),
    forms=(Form("{resource}/{deployment}/{rest}", "openai/deployments/{deployment}/{rest}"),),
    family="openai-chat",
    prices="azure",
    # The deployment's name; the answer tells what model it runs.
    model_pattern=r"^[^/]+/([^/]+)/",
    scheme=ENTRA,
)

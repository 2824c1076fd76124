"""Google AI Studio (Gemini). https://ai.google.dev/api"""

from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="google-ai-studio",
    base_url="https://generativelanguage.googleapis.com",
    credentials=(b"x-goog-api-key", b"authorization"),
    family="google",
    prices="google",
    # `v1beta/models/gemini-2.5-pro:streamGenerateContent`; the OpenAI form names its model in the body.
    model_pattern=r"(?:models|tunedModels)/([^/:]+)",
)

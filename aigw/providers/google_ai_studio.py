"""Google AI Studio (Gemini). https://ai.google.dev/api"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider
from aigw.providers.realtime import Realtime

PROVIDER = Provider(
    slug="google-ai-studio",
    base_url="https://generativelanguage.googleapis.com",
    credentials=(b"x-goog-api-key", b"authorization"),
    family="google",
    prices="google",
    # `v1beta/models/gemini-2.5-pro:streamGenerateContent`; the OpenAI form names its model in the body.
    model_pattern=r"(?:models|tunedModels)/([^/:]+)",
    aliases=("google",),
    realtime=Realtime(
        forms=(Form("", "ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"),),
        wording="google",
        query_keys=("api_key", "key"),
    ),
)

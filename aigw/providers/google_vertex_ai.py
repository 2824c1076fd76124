"""Google Vertex AI. https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest"""

from aigw.providers.google_tokens import SERVICE_ACCOUNT
from aigw.providers.paths import Form
from aigw.providers.provider import Provider

_PROJECT = "{version}/projects/{project}/locations"
_GLOBAL = "https://aiplatform.googleapis.com"


def _elsewhere(location: str, base_url: str) -> Form:
    """A location whose host is not named as a region's is."""
    path = f"{_PROJECT}/{location}/{{rest}}"
    return Form(path, path, base_url)


PROVIDER = Provider(
    slug="google-vertex-ai",
    base_url="https://{region}-aiplatform.googleapis.com",
    credentials=(b"authorization", b"x-goog-api-key"),
    forms=(
        _elsewhere("global", _GLOBAL),
        _elsewhere("us", "https://aiplatform.us.rep.googleapis.com"),
        _elsewhere("eu", "https://aiplatform.eu.rep.googleapis.com"),
        Form(f"{_PROJECT}/{{region}}/{{rest}}", f"{_PROJECT}/{{region}}/{{rest}}"),
        # Express mode: an API key, and neither project nor location.
        Form("{version}/publishers/{rest}", "{version}/publishers/{rest}", _GLOBAL),
    ),
    family="google",
    families=(
        (r"publishers/anthropic/.*:(streamR|r)awPredict$", "anthropic"),
        (r":(streamR|r)awPredict$", "openai-chat"),
        (r":(predict|predictLongRunning|fetchPredictOperation)$", "generic"),
    ),
    prices="google",
    model_pattern=r"models/([^/:]+)",
    # Other makers' models end their streams as each of them does.
    done_mark=False,
    scheme=SERVICE_ACCOUNT,
)

"""Workers AI. https://developers.cloudflare.com/workers-ai/"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider
from aigw.providers.realtime import Realtime

PROVIDER = Provider(
    slug="workers-ai",
    base_url="https://api.cloudflare.com/client/v4/accounts/{account}/ai",
    # Models are asked for by their name alone, or below `run/` as the API itself has it; `v1/...` is OpenAI's form.
    forms=(Form("@cf/{rest}", "run/@cf/{rest}"), Form("@hf/{rest}", "run/@hf/{rest}")),
    family="workers-ai",
    prices="cloudflare",
    model_pattern=r"(?:^|/)(@(?:cf|hf)/.+)",
    # The models with sockets are Deepgram's.
    realtime=Realtime(wording="deepgram", path_argument="model"),
)

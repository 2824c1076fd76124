"""OpenAI. https://platform.openai.com/docs/api-reference"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider
from aigw.providers.realtime import Realtime

PROVIDER = Provider(
    slug="openai",
    base_url="https://api.openai.com/v1",
    # SDKs and the npm provider ask below `v1/`, Cloudflare's own examples do not.
    forms=(Form("v1/{rest}", "{rest}"),),
    family="openai-chat",
    prices="openai",
    realtime=Realtime(
        # Cloudflare's address has no path; the SDK appends `realtime` to whatever base it was given.
        forms=(Form("", "realtime"),),
        wording="openai",
        key_protocols=("openai-insecure-api-key.",),
    ),
)

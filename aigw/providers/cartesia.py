"""Cartesia. https://docs.cartesia.ai/api-reference"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider
from aigw.providers.realtime import Realtime

PROVIDER = Provider(
    slug="cartesia",
    base_url="https://api.cartesia.ai",
    credentials=(b"x-api-key", b"authorization"),
    realtime=Realtime(forms=(Form("", "tts/websocket"),), wording="cartesia", query_keys=("api_key",)),
)

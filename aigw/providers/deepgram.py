"""Deepgram. https://developers.deepgram.com/reference"""

from aigw.providers.provider import Provider
from aigw.providers.realtime import Realtime

PROVIDER = Provider(
    slug="deepgram",
    base_url="https://api.deepgram.com",
    # The body is sound.
    query_model=True,
    # Its browser SDK offers two subprotocols: this word, and the key.
    realtime=Realtime(wording="deepgram", key_protocols=("token",)),
)

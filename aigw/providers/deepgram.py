"""Deepgram. https://developers.deepgram.com/reference"""

from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="deepgram",
    base_url="https://api.deepgram.com",
)

"""ElevenLabs. https://elevenlabs.io/docs/api-reference"""

from aigw.providers.paths import Form
from aigw.providers.provider import Provider
from aigw.providers.realtime import Realtime

PROVIDER = Provider(
    slug="elevenlabs",
    base_url="https://api.elevenlabs.io",
    credentials=(b"xi-api-key",),
    realtime=Realtime(forms=(Form("", "v1/convai/conversation"),), wording="elevenlabs"),
)

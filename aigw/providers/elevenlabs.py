"""ElevenLabs. https://elevenlabs.io/docs/api-reference"""

from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="elevenlabs",
    base_url="https://api.elevenlabs.io",
    credentials=(b"xi-api-key",),
)

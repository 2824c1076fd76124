"""fal. https://docs.fal.ai/model-endpoints"""

from aigw.providers.provider import Provider
from aigw.providers.realtime import Realtime

PROVIDER = Provider(
    slug="fal",
    base_url="https://fal.run",
    # fal's client, told to use a proxy, names the address it wants in this header.
    target_header=b"x-fal-target-url",
    target_hosts=("fal.run", "fal.ai"),
    # `fal-ai/fast-lcm-diffusion`: the application is the model.
    model_pattern=r"^(.+)$",
    realtime=Realtime(key_headers=((b"fal-api-key", b"authorization", b"Key "),)),
)

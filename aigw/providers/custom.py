"""Providers that the operator's configuration makes: a model server of one's own, or a vendor not in the table."""

from __future__ import annotations

import re

from aigw.providers.provider import Provider
from aigw.providers.realtime import Realtime

PREFIX = "custom-"
SLUG = re.compile(r"custom-[a-z0-9-]{1,57}")


def custom_provider(slug: str, base_url: str) -> Provider:
    """
    A provider that passes paths on as they are and reads answers by what their path and wording show.

    Args:
        slug: With its prefix `custom-`.
        base_url: The operator's word.
    """
    return Provider(
        slug=slug,
        base_url=base_url,
        credentials=(b"authorization", b"x-api-key", b"api-key"),
        family="openai-chat",
        # Servers of all ages call themselves OpenAI-compatible.
        done_mark=False,
        overridden=True,
        realtime=Realtime(wording="openai", key_protocols=("openai-insecure-api-key.",)),
    )

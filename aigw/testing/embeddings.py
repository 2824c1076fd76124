"""
An embeddings model in a few lines, for a `ScriptedProvider`: texts of the same words mean the same.

```python
provider.on("/v1/embeddings", embeddings(8))
```
"""

from __future__ import annotations

import re
from collections.abc import Callable
from zlib import crc32

from aigw.testing.provider import Script, Seen, json_answer


def meaning(text: str, dimensions: int) -> list[float]:
    """How often each word occurs, words of the same checksum being the same."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        vector[crc32(word.encode()) % dimensions] += 1.0
    return vector


def embeddings(dimensions: int) -> Callable[[Seen], Script]:
    """What answers as an OpenAI-compatible embeddings endpoint does."""

    def script(seen: Seen) -> Script:
        vector = meaning(seen.json["input"], dimensions)
        return json_answer(
            {
                "object": "list",
                "model": seen.json["model"],
                "data": [{"object": "embedding", "index": 0, "embedding": vector}],
                "usage": {"prompt_tokens": 1, "total_tokens": 1},
            }
        )

    return script

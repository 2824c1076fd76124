"""Perplexity. https://docs.perplexity.ai/api-reference"""

from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="perplexity-ai",
    base_url="https://api.perplexity.ai",
    family="openai-chat",
    prices="perplexity",
    # The prefix in a unified model name.
    aliases=("perplexity",),
    # Its streams were seen to end without `[DONE]`: https://github.com/perplexityai/api-discussion/issues/209
    done_mark=False,
)

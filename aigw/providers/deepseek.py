"""DeepSeek. https://api-docs.deepseek.com"""

from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="deepseek",
    base_url="https://api.deepseek.com",
    # The second one for its Anthropic form, `anthropic/v1/messages`.
    credentials=(b"authorization", b"x-api-key"),
    family="openai-chat",
    prices="deepseek",
)

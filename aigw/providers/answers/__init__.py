"""How answers are read, one family a file."""

from __future__ import annotations

from aigw.providers.answers.anthropic import AnthropicReader
from aigw.providers.answers.bedrock import BedrockConverseReader, BedrockInvokeReader
from aigw.providers.answers.cohere import CohereReader
from aigw.providers.answers.generic import GenericReader
from aigw.providers.answers.google import GoogleReader
from aigw.providers.answers.huggingface import HuggingFaceReader
from aigw.providers.answers.openai_chat import OpenAIChatReader
from aigw.providers.answers.openai_responses import OpenAIResponsesReader
from aigw.providers.answers.workers_ai import WorkersAIReader
from aigw.providers.families import Family
from aigw.providers.usage import AnswerReader

__all__ = ["AnswerReader", "reader_for"]

_READERS: dict[str, type[AnswerReader]] = {
    reader.family: reader
    for reader in (
        AnthropicReader,
        BedrockConverseReader,
        BedrockInvokeReader,
        CohereReader,
        GenericReader,
        GoogleReader,
        HuggingFaceReader,
        OpenAIResponsesReader,
        WorkersAIReader,
    )
}


def reader_for(family: Family, done_mark: bool = True) -> AnswerReader:
    """
    A new reader for one answer.

    Args:
        family: Of the answer.
        done_mark: For `openai-chat`, whether the vendor is known to end every stream with `[DONE]`.
    """
    if family == OpenAIChatReader.family:
        return OpenAIChatReader(done_mark)
    return _READERS[family]()

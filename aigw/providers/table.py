"""All providers that a client may name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from importlib import import_module

import attrs
import msgspec

from aigw.errors import ConfigurationError, InvalidProvider
from aigw.providers.credentials import CredentialParts
from aigw.providers.custom import PREFIX, SLUG, custom_provider
from aigw.providers.provider import Provider
from aigw.providers.secrets import read_secret
from aigw.providers.settings import MAKING, SECRETS, ProviderSettings

# Slug or alias -> module of this package. Names only: a vendor's module is imported when somebody asks for it.
MODULES: Mapping[str, str] = {
    "anthropic": "anthropic",
    "aws-bedrock": "aws_bedrock",
    "azure": "azure",
    "azure-openai": "azure_openai",
    "baseten": "baseten",
    "cartesia": "cartesia",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepgram": "deepgram",
    "deepseek": "deepseek",
    "elevenlabs": "elevenlabs",
    "fal": "fal",
    "fireworks": "fireworks",
    "google-ai-studio": "google_ai_studio",
    # What Cloudflare calls it in the address of its realtime socket.
    "google": "google_ai_studio",
    "google-vertex-ai": "google_vertex_ai",
    "grok": "grok",
    "xai": "grok",
    "groq": "groq",
    "huggingface": "huggingface",
    "ideogram": "ideogram",
    "mistral": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "parallel": "parallel",
    "perplexity-ai": "perplexity",
    "perplexity": "perplexity",
    "replicate": "replicate",
    "sandbox": "sandbox",
    "workers-ai": "workers_ai",
}

SLUG_CHARS = 64


class ProviderTable:
    """
    Finds providers by their slug.

    Args:
        overrides: The operator's settings by slug; a `custom-...` slug makes a provider.
        parts: What signatures and tokens are made with. None, for a table that sends nothing: none are made.
        environ: Where `env:NAME` in the settings is looked up.
    Raises:
        ConfigurationError: With every mistake among the settings.
    """

    def __init__(
        self,
        overrides: Mapping[str, ProviderSettings] | None = None,
        parts: CredentialParts | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        problems: list[str] = []
        read: dict[str, ProviderSettings] = {}
        for slug, settings in (overrides or {}).items():
            read[slug], wrong = _with_secrets(slug, settings, environ)
            problems += wrong or _problems(slug, read[slug])
        if problems:
            raise ConfigurationError(problems)
        self._overrides = {_canonical(slug): settings for slug, settings in read.items()}
        self._parts = parts
        self._found: dict[str, Provider] = {}

    def lookup(self, slug: str) -> Provider:
        """
        The provider of a slug or alias.

        Raises:
            InvalidProvider: There is none; the text names the nearest slug.
        """
        found = self._found.get(slug)
        if found is None:
            # Only what exists is kept, so that no client can fill the table.
            found = self._found[slug] = self._made(slug)
        return found

    def _made(self, slug: str) -> Provider:
        settings = self._overrides.get(_canonical(slug))
        if slug.startswith(PREFIX) and settings is not None and settings.base_url:
            provider = custom_provider(slug, settings.base_url.rstrip("/"))
        elif slug in MODULES:
            provider = import_module(f"aigw.providers.{MODULES[slug]}").PROVIDER
        else:
            raise InvalidProvider(_unknown(slug, tuple(MODULES)))
        if provider.scheme is not None and self._parts is not None:
            provider = attrs.evolve(provider, source=provider.scheme.make(settings or ProviderSettings(), self._parts))
        if settings is None:
            return provider
        base_url = settings.base_url.rstrip("/") if settings.base_url else provider.base_url
        return attrs.evolve(
            provider,
            base_url=base_url,
            fixed=provider.fixed + settings.fixed,
            account=settings.account,
            region=settings.region,
            prices=self.lookup(settings.prices).prices if settings.prices else provider.prices,
            overridden=settings.base_url is not None,
        )


def _canonical(slug: str) -> str:
    """An alias and its slug have one module, and so one entry of settings."""
    return MODULES.get(slug, slug)


def _unknown(slug: str, known: tuple[str, ...]) -> str:
    """What to say of a slug that is not in the table. Custom ones are no one's business but their owner's."""
    near = difflib.get_close_matches(slug[:SLUG_CHARS].lower(), known, n=1)
    return f"{slug[:SLUG_CHARS]!r} is not known here" + (f"; did you mean {near[0]!r}?" if near else "")


def _with_secrets(
    slug: str, settings: ProviderSettings, environ: Mapping[str, str]
) -> tuple[ProviderSettings, list[str]]:
    """The settings with what stands elsewhere read, and what could not be read."""
    values: dict[str, str] = {}
    wrong: list[str] = []
    for name in SECRETS:
        if getattr(settings, name):
            try:
                values[name] = read_secret(getattr(settings, name), environ)
            except ValueError as error:
                wrong.append(f"providers.{slug[:SLUG_CHARS]}.{name}: {error}")
    return msgspec.structs.replace(settings, **values), wrong


def _scheme_problems(slug: str, settings: ProviderSettings) -> Iterator[str]:
    """What is wrong with the settings that make credentials; each begins with its key."""
    given = [name for name in MAKING if getattr(settings, name)]
    if not given:
        return
    scheme = None if slug not in MODULES else import_module(f"aigw.providers.{MODULES[slug]}").PROVIDER.scheme
    taken = () if scheme is None else scheme.needed + scheme.taken
    yield from (f"{name}: {slug[:SLUG_CHARS]} takes no such key" for name in given if name not in taken)
    if scheme is None:
        return
    missing = [name for name in scheme.needed if name not in given]
    if len(missing) < len(scheme.needed):
        yield from (f"{name}: missing; {', '.join(scheme.needed)} go together" for name in missing)
    yield from scheme.check(settings)


def _problems(slug: str, settings: ProviderSettings) -> list[str]:
    key = f"providers.{slug[:SLUG_CHARS]}"
    found = [f"{key}.{problem}" for problem in (*settings.problems(), *_scheme_problems(slug, settings))]
    if settings.prices and settings.prices not in MODULES:
        found.append(f"{key}.prices: {_unknown(settings.prices, tuple(MODULES))}")
    if slug.startswith(PREFIX):
        if not SLUG.fullmatch(slug):
            found.append(f"{key}: a custom slug is custom- and up to 57 of a-z, 0-9 and '-'")
        if settings.base_url is None:
            found.append(f"{key}.base_url: a custom provider needs one")
        elif "{" in settings.base_url:
            found.append(f"{key}.base_url: a custom provider has no names to put into braces")
    elif slug not in MODULES:
        found.append(f"{key}: {_unknown(slug, tuple(MODULES))}; a provider of your own is called custom-...")
    return found

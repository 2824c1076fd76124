"""
Writes the reference of all keys into `settings.rst`, out of the settings classes: `python docs/settings_keys.py`.

The page is committed as it stands, so that it can be read without building anything; a test fails when it is out of
date, and proves that its examples are accepted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aigw.codecs.settings_keys import Key
from aigw.settings import keys

PAGE = Path(__file__).with_name("settings.rst")
MARK = ".. The rest of this page is written by docs/settings_keys.py."

# What each table is about, in the order of the page: the head of the table in the file, title, and purpose.
TABLES = {
    "": ("", "The process", "These keys stand at the top of the file, before any table."),
    "http": ("[http]", "HTTP", "Bounds of the HTTP server beneath both ports. None can be switched off."),
    "front": ("[front]", "HTTP requests", "How the HTTP routes of the data port treat bodies and streams."),
    "websocket": ("[websocket]", "WebSockets", "Bounds of every client's socket. None can be switched off."),
    "exchange": ("[exchange]", "Exchanges", "The clocks of a provider's answer, and how much of an answer is held."),
    "upstream": ("[upstream]", "Connections to providers", "Bounds of the connections that are kept to each vendor."),
    "realtime": (
        "[realtime]",
        "Realtime sockets",
        "Bounds of the sockets to vendors; those of clients are under ``[websocket]``. None can be switched off.",
    ),
    "spool": ("[spool]", "Spool", "How records are made safe before PostgreSQL has them."),
    "shipper": ("[shipper]", "Shipper", "How records travel from the spool to PostgreSQL."),
    "pool": ("[pool]", "Connections to the database", "The same for a database of yours and for the embedded one."),
    "postgres": ("[postgres]", "Embedded PostgreSQL", "Where ``database`` is absent; else nothing here is read."),
    "state": (
        "[state]",
        "Counters and cached answers",
        "Where limits and budgets are counted and answers are cached: in the process, or where several processes share"
        " them.",
    ),
    "estimates": (
        "[estimates]",
        "Estimates",
        "What limits of tokens and dollars take for a request before its answer tells what it used.",
    ),
    "providers.<slug>": (
        "[providers.custom-local]",
        "Providers",
        "One table for each provider that is to be reached elsewhere, or that is yours: the name behind the dot is its"
        " slug. See :doc:`adding-a-provider`.",
    ),
    "identity[]": (
        "[[identity]]",
        "Identity providers",
        "One table for each provider whose identity tokens (JWT) are believed. They stand beside a token in"
        " ``cf-access-jwt-assertion``, or open gateways by themselves where ``authenticates`` is set. The claims are"
        " what policies read as ``cf.user.*`` and ``cf.custom.*``.",
    ),
    "gateway[]": (
        "[[gateway]]",
        "Gateways",
        "One table for each gateway, with the field names of Cloudflare's API. Of what is marked *Kept*, the value is"
        " checked and kept, so that a declaration written for Cloudflare is accepted as it stands, and nothing is done"
        " with it yet. The gateway ``default`` of the account ``local`` is there without being declared. A gateway that"
        " stands in the file is changed in the file only; all others with ``aigw gateway``, while the gateway runs.",
    ),
    "gateway[].spend_limits": ("[gateway.spend_limits]", "Budgets of a gateway", "In US dollars."),
    "gateway[].spend_limits.rules[]": (
        "[[gateway.spend_limits.rules]]",
        "One budget of a gateway",
        "A request has to fit into every budget that holds for it.",
    ),
    "gateway[].spend_limits.rules[].metadata.<slug>": (
        "[gateway.spend_limits.rules.metadata.team]",
        "A budget by metadata",
        "The name behind the last dot is a key of the requests' metadata.",
    ),
    "gateway[].spend_limits.rules[].model": (
        "[gateway.spend_limits.rules.model]",
        "A budget for some models",
        "Absent: for all.",
    ),
    "gateway[].spend_limits.rules[].provider": (
        "[gateway.spend_limits.rules.provider]",
        "A budget for some providers",
        "Absent: for all.",
    ),
    "gateway[].rate_limits[]": ("[[gateway.rate_limits]]", "Limits of a gateway", "Beyond what Cloudflare has."),
    "gateway[].semantic_cache": (
        "[gateway.semantic_cache]",
        "Semantic cache of a gateway",
        "Answers to questions that mean the same.",
    ),
    "gateway[].guardrails": ("[gateway.guardrails]", "Guardrails of a gateway", "Both keys are required."),
    "gateway[].dlp": ("[gateway.dlp]", "Data loss prevention of a gateway", "Profiles and action, or policies."),
    "gateway[].dlp.policies[]": ("[[gateway.dlp.policies]]", "One policy of data loss prevention", "At most 100."),
    "gateway[].otel[]": ("[[gateway.otel]]", "Export of a gateway's spans", "At most 20 collectors."),
    "gateway[].stripe": ("[gateway.stripe]", "Billing of a gateway's usage", "Absent: none."),
    "gateway[].stripe.usage_events[]": ("[[gateway.stripe.usage_events]]", "What billing is told", "At most 20."),
}

# An example says more than its default, where the default is nothing or a key begs for another value.
EXAMPLES = {
    "data_dir": "/var/lib/aigw",
    "listen": ["tcp:8787", "ssl:8443:privateKey=key.pem:certKey=cert.pem"],
    "database": "postgresql://aigw@db.example.com/aigw",
    "websocket.allowed_origins": ["https://app.example.com"],
    "upstream.trust_roots": "our-authority.pem",
    "spool.durability": "power",
    "postgres.bindir": "/usr/lib/postgresql/18/bin",
    "state.redis": "rediss://gateway:password@redis.example.com:6379/0",
    "state.redis_trust_roots": "our-authority.pem",
    "providers.<slug>.base_url": "http://127.0.0.1:8000",
    "providers.<slug>.headers": {"x-team": "red"},
    "providers.<slug>.account": "our-account",
    "providers.<slug>.prices": "openai",
    "providers.<slug>.access_key_id": "env:AWS_ACCESS_KEY_ID",
    "providers.<slug>.secret_access_key": "env:AWS_SECRET_ACCESS_KEY",
    "providers.<slug>.session_token": "env:AWS_SESSION_TOKEN",
    "providers.<slug>.region": "eu-central-1",
    "providers.<slug>.service_account": "file:/run/secrets/vertex.json",
    "providers.<slug>.tenant_id": "contoso.example",
    "providers.<slug>.client_id": "00000000-0000-0000-0000-000000000000",
    "providers.<slug>.client_secret": "file:/run/secrets/entra",
    "providers.<slug>.token_url": "http://127.0.0.1:9999/token",
    "identity[].issuer": "https://login.example.com",
    "identity[].audience": ["aigw"],
    "identity[].jwks_url": "https://login.example.com/.well-known/jwks.json",
    "identity[].team_claim": "team",
    "identity[].custom_claims": ["cost_center"],
    "identity[].require_claims": {"hd": ["example.com"]},
    "gateway[].id": "support-bot",
    "gateway[].cache_ttl": 300,
    "gateway[].rate_limiting_limit": 100,
    "gateway[].rate_limiting_interval": 60,
    "gateway[].retry_max_attempts": 3,
    "gateway[].retry_delay": 500,
    "gateway[].retry_backoff": "exponential",
    "gateway[].log_management": 1_000_000,
    "gateway[].log_management_strategy": "DELETE_OLDEST",
    "gateway[].logpush_public_key": "-----BEGIN PUBLIC KEY-----",
    "gateway[].store_id": "team-keys",
    "gateway[].spend_webhook": "https://hooks.example/budget",
    "gateway[].locked": ["cf-aig-custom-cost", "cf-aig-collect-log"],
    "gateway[].spend_limits.rules[].limit": 50,
    "gateway[].spend_limits.rules[].limitType": "cost",
    "gateway[].spend_limits.rules[].window": 86_400,
    "gateway[].spend_limits.rules[].id": "team-a-day",
    "gateway[].spend_limits.rules[].metadata.<slug>.mode": "filter",
    "gateway[].spend_limits.rules[].metadata.<slug>.values": ["red", "blue"],
    "gateway[].spend_limits.rules[].model.mode": "filter",
    "gateway[].spend_limits.rules[].model.values": ["gpt-4o*"],
    "gateway[].spend_limits.rules[].provider.mode": "filter",
    "gateway[].spend_limits.rules[].provider.values": ["openai"],
    "gateway[].rate_limits[].limit": 100_000,
    "gateway[].rate_limits[].window": 60,
    "gateway[].rate_limits[].id": "tokens-by-user",
    "gateway[].rate_limits[].unit": "tokens",
    "gateway[].rate_limits[].per": ["metadata.user"],
    "gateway[].rate_limits[].models": ["gpt-4o*"],
    "gateway[].rate_limits[].providers": ["openai"],
    "gateway[].rate_limits[].metadata": {"plan": ["free"]},
    "gateway[].semantic_cache.url": "https://api.openai.com/v1/embeddings",
    "gateway[].semantic_cache.model": "text-embedding-3-small",
    "gateway[].semantic_cache.dimensions": 1536,
    "gateway[].semantic_cache.api_key_env": "EMBEDDINGS_KEY",
    "gateway[].guardrails.prompt": {"P1": "BLOCK", "S1": "FLAG"},
    "gateway[].guardrails.response": {"S1": "BLOCK"},
    "gateway[].dlp.enabled": True,
    "gateway[].dlp.action": "FLAG",
    "gateway[].dlp.profiles": ["credentials"],
    "gateway[].dlp.policies[].id": "no-secrets",
    "gateway[].dlp.policies[].enabled": True,
    "gateway[].dlp.policies[].action": "BLOCK",
    "gateway[].dlp.policies[].check": ["REQUEST"],
    "gateway[].dlp.policies[].profiles": ["credentials"],
    "gateway[].otel[].url": "https://otel.example/v1/traces",
    "gateway[].otel[].headers": {"x-team": "red"},
    "gateway[].otel[].authorization": "otel-secret",
    "gateway[].otel[].content_type": "json",
    "gateway[].stripe.authorization": "stripe-secret",
    "gateway[].stripe.usage_events[].payload": "{}",
}


def table_of(key: Key) -> str:
    """The path of the table that a key stands in."""
    return key.path.rpartition(".")[0]


def name_of(key: Key) -> str:
    """The key's name within its table."""
    return key.path.rpartition(".")[2]


def literal(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} = {literal(item)}' for name, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    return json.dumps(value)


def example(of: Iterable[Key], head: str) -> str:
    """A table in which every key is set."""
    lines = [head] if head else []
    for key in of:
        value = EXAMPLES.get(key.path, key.default)
        if value is None:
            raise LookupError(f"`{key.path}` has no default; give an example in {Path(__file__).name}")
        lines.append(f"{name_of(key)} = {literal(value)}")
    return "\n".join(lines)


def entry(key: Key) -> str:
    """One key as an item of a definition list."""
    text = re.sub(r"`([^`]+)`", r"``\1``", key.text)
    expects = re.sub(r"`([^`]+)`", r"``\1``", key.expects)
    default = "Required." if key.required else "Absent by default." if key.default is None else ""
    default = default or f"Default: ``{literal(key.default)}``."
    environment = f" Variable: ``{key.environment}``." if key.environment else ""
    return f"``{name_of(key)}``\n    {text}\n\n    {expects[0].upper()}{expects[1:]}. {default}{environment}\n"


def reference(of: Iterable[Key]) -> str:
    """The part of the page below the mark."""
    tables: dict[str, list[Key]] = {}
    for key in of:
        tables.setdefault(table_of(key), []).append(key)
    parts = []
    for table, members in tables.items():
        head, title, purpose = TABLES[table]
        code = "".join(f"    {line}\n" for line in example(members, head).splitlines())
        title = f"{title}: ``{head}``" if head else title
        entries = "\n".join(entry(key) for key in members)
        parts.append(f"{title}\n{'-' * len(title)}\n\n{purpose}\n\n{entries}\n.. code-block:: toml\n\n{code}")
    return "\n".join(parts)


def page() -> str:
    """The whole page: what was written by hand, and the reference."""
    by_hand = PAGE.read_text().partition(MARK)[0]
    return f"{by_hand}{MARK}\n\n{reference(keys())}"


if __name__ == "__main__":
    PAGE.write_text(page())

"""The process's own settings: a TOML file, the environment and the command line, read into frozen values."""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from twisted.internet.endpoints import serverFromString

from aigw.codecs.gateway_check import contradictions
from aigw.codecs.settings_check import nearest, problems_of, read_text
from aigw.codecs.settings_keys import ENVIRONMENT_PREFIX, Key, describe
from aigw.controls.estimate import EstimateSettings
from aigw.controls.identity_settings import IdentitySettings, repeated_issuers
from aigw.controls.unshared import gateway_problems
from aigw.dispatch.settings import DispatchSettings
from aigw.errors import ConfigurationError
from aigw.logs.settings import ShipperSettings, SpoolSettings
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import ProviderTable
from aigw.serving.limits import HttpLimits, SocketLimits
from aigw.state.settings import StateSettings, state_contradictions
from aigw.storage.dsn import read_dsn
from aigw.storage.settings import DatabaseSettings, EmbeddedSettings
from aigw.upstream.settings import RealtimeSettings, UpstreamSettings
from aigw.values.gateway import Gateway
from aigw.wire.http_routes import FrontSettings

MOST_WORKERS = 256

DEFAULT_DATA_DIR = "aigw-data"

# Variables with the prefix that are no keys: where the file is, what `aigw chat` reads, and what tests are told.
CONFIG_VARIABLE = "AIGW_CONFIG"
_OTHER_VARIABLES = {CONFIG_VARIABLE, "AIGW_TOKEN", "AIGW_URL"}
_TEST_PREFIX = "AIGW_TEST_"

# Of the embedded server, beside the pool's: the one that listens, those that PostgreSQL keeps back, and a `psql`.
RESERVED_CONNECTIONS = 5


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set about one process. Each room reads its own table only."""

    data_dir: Annotated[
        str, Meta(description="Folder for the spool, the embedded PostgreSQL, tokens and keys; made with mode 0700.")
    ] = DEFAULT_DATA_DIR
    listen: Annotated[
        tuple[str, ...], Meta(min_length=1, description="Twisted endpoints of the data port, for applications.")
    ] = ("tcp:8787:interface=127.0.0.1",)
    control: Annotated[
        tuple[str, ...], Meta(description="Twisted endpoints of the control port: health, readiness and metrics.")
    ] = ("tcp:8788:interface=127.0.0.1",)
    database: Annotated[
        str | None,
        Meta(description="DSN of a PostgreSQL 14 or later, as a URL or as `key=value` pairs; absent: embedded."),
    ] = None
    drain_s: Annotated[
        float, Meta(ge=0, description="Seconds that running requests get to finish after a SIGTERM.")
    ] = 30.0
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_WORKERS)] | Literal["auto"],
        Meta(description="Processes that accept connections and share all else; `auto`: one for each core."),
    ] = 1
    http: HttpLimits = HttpLimits()
    websocket: SocketLimits = SocketLimits()
    front: FrontSettings = FrontSettings()
    exchange: DispatchSettings = DispatchSettings()
    spool: SpoolSettings = SpoolSettings()
    shipper: ShipperSettings = ShipperSettings()
    pool: DatabaseSettings = DatabaseSettings()
    postgres: EmbeddedSettings = EmbeddedSettings()
    state: StateSettings = StateSettings()
    estimates: EstimateSettings = EstimateSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    realtime: RealtimeSettings = RealtimeSettings()
    providers: dict[str, ProviderSettings] = {}
    identity: tuple[IdentitySettings, ...] = ()
    gateway: tuple[Gateway, ...] = ()

    def data_path(self) -> Path:
        """The data folder; absolute when the settings came from `load`."""
        return Path(self.data_dir)

    def processes(self) -> int:
        """How many processes accept connections."""
        return len(os.sched_getaffinity(0)) if self.workers == "auto" else self.workers

    def embedded(self) -> EmbeddedSettings:
        """Those of the embedded server, with room for every process: each has its pool, and listens."""
        pools = 1 if self.processes() == 1 else self.processes() + 1
        least = pools * (self.pool.connections + 1) + RESERVED_CONNECTIONS - 1
        return msgspec.structs.replace(self.postgres, connections=max(least, self.postgres.connections))

    def counts_together(self) -> bool:
        """Whether what is limited is counted for all processes."""
        return self.processes() == 1 or self.state.store != "memory"

    def gateways(self) -> tuple[Gateway, ...]:
        """The declared gateways, and `default` of the account `local` unless it is declared."""
        first = Gateway(id="default")
        declared = any((one.account, one.id) == (first.account, first.id) for one in self.gateway)
        return self.gateway if declared else (first, *self.gateway)


def keys() -> list[Key]:
    """Every key of the file, for the settings reference."""
    return describe(Settings)


def load(options: Mapping[str, Any], environ: Mapping[str, str], cwd: Path | None = None) -> Settings:
    """
    Read the settings: an option goes before the environment, the environment before the file, the file before defaults.

    A relative `data_dir` in the file starts at the file's own folder, elsewhere at the working directory. A variable
    that holds a list has `;` between the items, because endpoints and paths may hold commas and colons.

    Args:
        options: By key, or as spelt on the command line (`data-dir`), and `config` for the file; None, empty texts
            and empty lists count as not given.
        environ: The process's environment.
        cwd: The working directory.
    Raises:
        ConfigurationError: With every mistake of every source.
    """
    cwd = cwd or Path.cwd()
    problems: list[str] = []
    tree: dict[str, Any] = {}
    config = options.get("config") or environ.get(CONFIG_VARIABLE)
    if config:
        tree, mistakes = _read_file(cwd / config)
        problems += [f"{config}: {mistake}" for mistake in (*mistakes, *problems_of(tree, Settings))]
        if isinstance(tree.get("data_dir"), str):
            tree["data_dir"] = str((cwd / config).parent / tree["data_dir"])
    for source in (_from_environment(environ), _from_options(options)):
        for path, value, mistake in source:
            if mistake:
                problems.append(mistake)
            else:
                _put(tree, path, value)
    problems += [*_wrong_endpoints(tree), *_wrong_providers(tree, environ), *_repeated_gateways(tree)]
    problems += _wrong_database(tree, environ)
    if problems:
        raise ConfigurationError(problems)
    settings = _converted(tree)
    return msgspec.structs.replace(settings, data_dir=str(cwd / settings.data_dir))


def _read_file(file: Path) -> tuple[dict[str, Any], list[str]]:
    """The file's content, and why there is none."""
    try:
        return tomllib.loads(file.read_text("utf-8")), []
    except OSError as error:
        return {}, [f"cannot be read: {error.strerror}"]
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return {}, [f"not UTF-8 (at line {line})"]
    except tomllib.TOMLDecodeError as error:
        return {}, [f"no TOML: {error}"]


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    """Path, value and mistake of each variable that is ours; an empty one counts as not set."""
    paths = {key.environment: key.path for key in keys() if key.environment}
    for name in sorted(environ):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in _OTHER_VARIABLES or name.startswith(_TEST_PREFIX):
            continue
        if name not in paths:
            yield "", None, f"{name}: no such variable{nearest(name, paths)}"
        elif environ[name]:
            yield _from_text(paths[name], environ[name], name)


def _from_options(options: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    for name, value in options.items():
        path = name.replace("-", "_")
        if path in Settings.__struct_fields__ and value:
            yield _from_text(path, value, f"--{name.replace('_', '-')}")


def _from_text(path: str, text: str | list[str], source: str) -> tuple[str, Any, str]:
    annotation: Any = Settings
    for name in path.split("."):
        annotation = next(field.type for field in msgspec.structs.fields(annotation) if field.name == name)
    try:
        return path, read_text(text, annotation), ""
    except ValueError as error:
        return path, None, f"{source}: {error}"


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *tables, name = path.split(".")
    for table in tables:
        inner = tree.setdefault(table, {})
        if not isinstance(inner, dict):
            return  # The file has something else there, which is a problem already told.
        tree = inner
    tree[name] = value


def _converted(tree: Mapping[str, Any]) -> Settings:
    """
    The settings, of which each is right by itself.

    Raises:
        ConfigurationError: They do not go together, though each source alone may.
    """
    try:
        settings = msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        raise ConfigurationError([str(error)]) from None
    problems = list(_contradictions(settings))
    if problems:
        raise ConfigurationError(problems)
    return settings


def _contradictions(settings: Settings) -> Iterator[str]:
    """Values from different tables, or with different owners, that cannot all hold."""
    yield from repeated_issuers(settings.identity)
    pool, postgres = settings.pool, settings.postgres
    if pool.answer_s <= pool.statement_s:
        yield "pool.answer_s: must be more than pool.statement_s, or each slow statement costs its connection"
    processes = settings.processes()
    if settings.database is None and postgres.connections < pool.connections + RESERVED_CONNECTIONS:
        least = pool.connections + RESERVED_CONNECTIONS
        yield f"postgres.connections: must be at least {least}, for pool.connections is {pool.connections}"
    if settings.spool.spool_bytes // processes < 2 * settings.spool.segment_bytes:
        yield f"spool.spool_bytes: must have room for two segments of each of {processes} workers"
    yield from state_contradictions(settings.state)
    if not settings.counts_together():
        for index, gateway in enumerate(settings.gateway):
            yield from (f"gateway[{index}].{problem}" for problem in gateway_problems(gateway))
    for index, gateway in enumerate(settings.gateway):
        yield from (f"gateway[{index}].{problem}" for problem in contradictions(gateway))


def _wrong_endpoints(tree: Mapping[str, Any]) -> Iterator[str]:
    """What Twisted says against the endpoints. Values that are no texts were told already."""
    for key in ("listen", "control"):
        value = tree.get(key)
        for index, endpoint in enumerate(value if isinstance(value, list | tuple) else ()):
            if not isinstance(endpoint, str):
                continue
            try:
                # The parsers only keep the reactor; those for TLS also read the certificate, which belongs here.
                serverFromString(None, endpoint)
            except Exception as error:
                yield f"{key}[{index}]: `{endpoint}` is no endpoint: {error or type(error).__name__}"


def _wrong_providers(tree: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[str]:
    """What the table of providers says against those entries that have the right form."""
    tables = tree.get("providers")
    entries: dict[str, ProviderSettings] = {}
    for slug, table in tables.items() if isinstance(tables, dict) else ():
        with contextlib.suppress(msgspec.ValidationError):
            entries[slug] = msgspec.convert(table, ProviderSettings)
    try:
        ProviderTable(entries, environ=environ)
    except ConfigurationError as error:
        yield from error.problems


def _wrong_database(tree: Mapping[str, Any], environ: Mapping[str, str]) -> list[str]:
    """Why the DSN cannot be read; it is not repeated, since it may hold a password."""
    dsn = tree.get("database")
    if isinstance(dsn, str):
        try:
            read_dsn(dsn, environ)
        except ConfigurationError as error:
            return error.problems
    return []


def _repeated_gateways(tree: Mapping[str, Any]) -> Iterator[str]:
    seen: set[tuple[object, object]] = set()
    gateways = tree.get("gateway")
    for index, gateway in enumerate(gateways if isinstance(gateways, list) else ()):
        if isinstance(gateway, dict) and isinstance(gateway.get("id"), str):
            name = (str(gateway.get("account", "local")), gateway["id"])
            if name in seen:
                yield f"gateway[{index}].id: `{name[1]}` is declared twice in the account `{name[0]}`"
            seen.add(name)

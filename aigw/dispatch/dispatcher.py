"""Opens exchanges, knows those that run, and drains them."""

from __future__ import annotations

from urllib.parse import unquote

import attrs
from twisted.internet.defer import Deferred

from aigw.dispatch.exchange import Exchange
from aigw.dispatch.opening import Opening
from aigw.dispatch.parts import Parts
from aigw.dispatch.plan import Around, Plan, ProviderLookup, plan_step
from aigw.dispatch.session import SessionClient, SessionExchange, plan_session
from aigw.dispatch.settings import Collect, ReadMetadata, check_settings, collect, read_metadata
from aigw.dispatch.template import Template, Templates
from aigw.errors import Drained, Draining, GatewayError, NotFound
from aigw.interfaces import IReply
from aigw.providers.paths import GATEWAY_TOKEN
from aigw.values.ids import LogIds, id_ms
from aigw.values.record import TEXT_CHARS, Origin, Target


class Dispatcher:
    """
    Where every route hands its requests in.

    Args:
        parts: What exchanges work with.
        providers: Finds a provider by its slug.
        ids: Makes log ids.
    """

    def __init__(self, parts: Parts, providers: ProviderLookup, ids: LogIds) -> None:
        self._parts = parts
        self._providers = providers
        self._ids = ids
        self._clocks = parts.settings.clocks()
        self._templates = Templates(providers.lookup, self._clocks)
        self._session_clocks = attrs.evolve(self._clocks, total_s=parts.settings.session_s)
        self._running: set[Exchange | SessionExchange] = set()
        self._idle: list[Deferred[None]] = []
        self.draining = False

    @property
    def in_flight(self) -> int:
        """Exchanges that are not over."""
        return len(self._running)

    def open(self, opening: Opening, reply: IReply) -> Exchange:
        """
        Begin an exchange. Whatever is wrong with the request ends as an exchange, too.

        Args:
            opening: The authenticated request.
            reply: Told of the answer; its `finish` may be called before this returns.
        """
        plans: tuple[Plan, ...] = ()
        refusal = opening.refusal or (Draining() if self.draining else None)
        log_id = self._ids.next()
        templates: list[Template] = []
        if refusal is None:
            try:
                templates = self._templates_of(opening, id_ms(log_id))
            except GatewayError as error:
                refusal = error
        first = templates[0] if templates else None
        told = first.metadata if first is not None else read_metadata(opening.settings)
        kept = first.kept if first is not None else collect(opening.gateway, opening.settings)
        origin = self._origin(opening, log_id, told, kept)
        if refusal is None:
            around = self._around(opening, told, origin)
            plans = tuple(
                [
                    plan_step(step, template, self._clocks, around)
                    for step, template in zip(opening.steps, templates, strict=True)
                ]
            )
        self._count(opening, told)
        exchange = Exchange(self._parts, origin, plans, reply, self._forget)
        self._running.add(exchange)
        if refusal is None:
            exchange.start()
        else:
            exchange.refuse(refusal, _target(opening))
        return exchange

    def _templates_of(self, opening: Opening, now_ms: int) -> list[Template]:
        gateway, of = opening.gateway, self._templates.of
        return [of(index, step, gateway, now_ms) for index, step in enumerate(opening.steps)]

    def open_session(self, opening: Opening, offered: list[str], client: SessionClient) -> SessionExchange:
        """
        Begin a realtime session; as with `open`, whatever is wrong ends as an exchange, too.

        Args:
            opening: The authenticated upgrade, with one step.
            offered: The client's subprotocols.
            client: Told of the session; not before this has returned, unless the spool is full.
        """
        plan = None
        refusal = opening.refusal or (Draining() if self.draining else None)
        if self._parts.realtime is None:
            refusal = NotFound("there are no realtime sockets here")
        told = read_metadata(opening.settings)
        origin = self._origin(opening, self._ids.next(), told, collect(opening.gateway, opening.settings))
        if refusal is None:
            try:
                (step,) = opening.steps
                check_settings(step.settings)
                plan = plan_session(
                    step, offered, self._providers, self._session_clocks, self._around(opening, told, origin)
                )
            except GatewayError as error:
                refusal = error
        self._count(opening, told)
        session = SessionExchange(self._parts, origin, plan, client, self._forget)
        self._running.add(session)
        if refusal is None:
            session.start()
        else:
            session.refuse(refusal, _target(opening))
        return session

    def _count(self, opening: Opening, told: ReadMetadata) -> None:
        """Stages 1 and 2 did their work before this."""
        counts = self._parts.controls.counts
        counts["authenticate"] += opening.caller.authenticated
        counts["settings"] += bool(opening.settings)
        counts["metadata"] += bool(told.text)

    def _around(self, opening: Opening, told: ReadMetadata, origin: Origin) -> Around:
        return Around(
            *(opening.gateway, opening.caller, told.values, told.text),
            *(id_ms(origin.id), opening.country, self._parts.price),
        )

    def _origin(self, opening: Opening, log_id: bytes, told: ReadMetadata, kept: Collect) -> Origin:
        return Origin(
            id=log_id,
            account=opening.gateway.account,
            gateway=opening.gateway.id,
            request_type=opening.request_type,
            event_id=opening.event_id[:TEXT_CHARS],
            token=opening.caller.token_id,
            team=opening.caller.team,
            user=opening.caller.user,
            user_agent=opening.user_agent[:TEXT_CHARS],
            authenticated=opening.caller.authenticated,
            metadata=told.text,
            collect=kept.row,
            collect_payload=kept.payload,
        )

    def _forget(self, exchange: Exchange | SessionExchange) -> None:
        self._running.discard(exchange)
        if not self._running:
            waiting, self._idle = self._idle, []
            for done in waiting:
                done.callback(None)

    def when_idle(self) -> Deferred[None]:
        """Fires when no exchange runs; may be cancelled."""
        done: Deferred[None] = Deferred(self._stop_waiting)
        if self._running:
            self._idle.append(done)
        else:
            done.callback(None)
        return done

    def _stop_waiting(self, done: Deferred[None]) -> None:
        self._idle.remove(done)

    def abandon_all(self) -> None:
        """End every exchange that still runs, as drained."""
        for exchange in list(self._running):
            exchange.abandon(Drained())


def _target(opening: Opening) -> Target:
    """What a refused request asked for, as far as it could be read."""
    if not opening.steps:
        return Target("none")
    step = opening.steps[0]
    path = step.endpoint.partition("?")[0]
    # It may be refused for the very reason that it holds a token, and the log must not keep one.
    if GATEWAY_TOKEN.search(unquote(path)):
        path = ""
    return Target(
        provider=step.provider[:64] or "none",
        path=path[:TEXT_CHARS],
        request_bytes=len(step.query) if isinstance(step.query, bytes) else 0,
    )

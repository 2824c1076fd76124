"""Who calls a running gateway: browsers with minted tokens, people of an identity provider, teams."""

from __future__ import annotations

import base64
import hmac
import json
import shutil
import time
from io import BytesIO
from typing import Any, cast

from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import deferLater
from twisted.web.client import Agent, FileBodyProducer, readBody
from twisted.web.http_headers import Headers
from twisted.web.server import Site

from aigw.testing.gateway import GatewayProcess
from aigw.testing.identity import IdentityProvider
from tests.integration import LOOK_S, IntegrationTestCase
from tests.integration.client import Client

PAGE = "https://app.example"


class CallerCase(IntegrationTestCase):
    async def socket(self, url: str, token: str, origin: str | None = None) -> Client:
        """
        A page, or a program, that shows its token as a subprotocol.

        Raises:
            ConnectionError: The gateway refused; the text holds the status.
        """
        protocols = [f"cf-aig-authorization.{token}"]
        factory = WebSocketClientFactory(url, origin=origin, protocols=protocols, reactor=self.reactor)
        factory.protocol = Client
        factory.noisy = False
        client: Any = await HostnameEndpoint(self.reactor, factory.host, factory.port).connect(factory)
        self.addCleanup(client.transport.abortConnection)
        await client.opened
        return cast(Client, client)

    async def refusal(self, url: str, token: str, origin: str | None = None) -> str:
        """Why a socket was not opened."""
        try:
            await self.socket(url, token, origin)
        except ConnectionError as error:
            return str(error)
        raise AssertionError("the socket was opened")

    async def mint(self, gateway: GatewayProcess, **form: Any) -> dict[str, Any]:
        """A minted token, with all that is told of it."""
        headers = Headers({b"cf-aig-authorization": [gateway.token.encode()]})
        url = gateway.url.replace("ws://", "http://") + "/tokens"
        body = FileBodyProducer(BytesIO(json.dumps(form).encode()))
        answer = await Agent(self.reactor).request(b"POST", url.encode(), headers, body)
        made: dict[str, Any] = json.loads(await readBody(answer))
        self.assertEqual(answer.code, 201, made)
        return made


class MintedTests(CallerCase):
    async def test_a_browser(self) -> None:
        """A page opens its socket on any node, from its own origin only; when the parent is revoked, all close."""
        self.config = f'[websocket]\nallowed_origins = ["{PAGE}", "https://other.example"]\n'
        first = await self.start()
        made = await self.mint(first, user="ada", origins=[PAGE], providers=["sandbox"])
        here = self.data_dir
        self.data_dir = here.parent / "second"
        self.data_dir.mkdir(mode=0o700)
        shutil.copy2(here / "master.key", self.data_dir / "master.key")
        second = await self.start()
        sockets = [await self.socket(gateway.url, made["token"], PAGE) for gateway in (first, second)]
        for number, socket in enumerate(sockets):
            socket.ask(f"ask-{number}")
            await socket.ending(f"ask-{number}")
        for origin in (None, "https://other.example"):
            self.assertIn("403", await self.refusal(first.url, made["token"], origin))
        logged = await self.when_rows(2, "(SELECT name FROM names WHERE id = token)")
        self.assertEqual(logged, [(made["id"],)] * 2)
        self.data_dir = here
        await self.aigw("token", "revoke", made["id"].partition(".")[0])
        for socket in sockets:
            self.assertEqual(await socket.closed(), 1008)
        self.assertIn("401", await self.refusal(second.url, made["token"], PAGE))

    async def test_one_alone(self) -> None:
        """A minted token is revoked by its own id; another of the same parent goes on."""
        gateway = await self.start()
        lost, kept = [await self.mint(gateway, user=user) for user in ("ada", "bob")]
        first, second = [await self.socket(gateway.url, made["token"]) for made in (lost, kept)]
        await self.aigw("token", "revoke", lost["id"])
        self.assertEqual(await first.closed(), 1008)
        second.ask("still here")
        await second.ending("still here")


class TeamTests(CallerCase):
    async def test_a_life(self) -> None:
        """A team reaches a node that joins; when it is deleted there, the next request of its token is refused here."""
        first = await self.start()
        await self.aigw("team", "create", "red", "--provider", "sandbox")
        token = (await self.aigw("token", "create", "--team", "red")).strip()
        socket = await self.socket(first.url, token)
        socket.ask("before")
        await socket.ending("before")
        self.data_dir = self.data_dir.parent / "second"
        second = await self.start()
        while "red" not in await self.aigw("team", "list"):
            pass
        await self.socket(second.url, token)
        await self.aigw("team", "delete", "red", "--force")
        closed = Deferred.fromCoroutine(socket.closed())
        while not closed.called:
            socket.ask("again")
            await deferLater(self.reactor, LOOK_S)
        self.assertEqual(await closed, 1008)
        self.assertEqual(socket.messages["again"][-1]["response"]["internalCode"], 2009)


class IdentityTests(CallerCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.people = IdentityProvider(time.time)
        self.people.add_key("k1", "RS256")
        port = self.reactor.listenTCP(0, Site(self.people.resource()), interface="127.0.0.1")
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        self.config = (
            f'[[identity]]\nissuer = "{self.people.issuer}"\naudience = ["{self.people.audience}"]\n'
            f'jwks_url = "http://127.0.0.1:{port.getHost().port}/keys"\nauthenticates = true\n'
        )

    async def test_people(self) -> None:
        """A person's identity token opens the gateway, and its log names nobody's secret; forgeries open nothing."""
        gateway = await self.start()
        good = self.people.sign("k1", email="ada@example.com")
        socket = await self.socket(gateway.url, good)
        socket.ask("hello")
        await socket.ending("hello")
        for forgery in self.forgeries(good):
            self.assertIn("401", await self.refusal(gateway.url, forgery))
        self.assertNotIn(good, gateway.output)
        (row,) = await self.when_rows(1, "token, (SELECT name FROM names WHERE id = person)")
        self.assertEqual(row, (None, "ada@example.com"))

    def forgeries(self, good: str) -> list[str]:
        """Tokens for the same person that the provider never signed."""
        _, claims, _ = good.split(".")
        forged = []
        for algorithm, secret in (("none", b""), ("HS256", self.people.key_set()), ("ES256", b"")):
            header = (
                base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "k1"}).encode()).rstrip(b"=").decode()
            )
            mac = hmac.digest(secret, f"{header}.{claims}".encode(), "sha256")
            forged.append(f"{header}.{claims}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")
        return [*forged, good[:-4] + "AAAA", self.people.sign("k1", aud="other"), self.people.sign("k1", exp=1)]

    async def test_a_new_key(self) -> None:
        """A key of today is fetched when it first turns up; callers who come again are let in."""
        gateway = await self.start()
        await self.socket(gateway.url, self.people.sign("k1"))
        self.people.add_key("k2")
        refusals: set[str] = set()
        while True:
            try:
                await self.socket(gateway.url, self.people.sign("k2"))
                break
            except ConnectionError as error:
                refusals.add(str(error))
            await deferLater(self.reactor, 10 * LOOK_S)
        self.assertEqual(self.people.asked, 2)
        self.assertTrue(refusals)

"""Gateways over the internal API."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from aigw.management.checks import check_gateways
from aigw.management.control_client import CallRefused
from aigw.values.gateway import Gateway
from tests.management.control import Control


class GatewayCallsTests(TestCase):
    def setUp(self) -> None:
        self.control = Control(Path(self.mktemp()))
        self.control.socket.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.control.socket.stop()))

    async def refused(self, method: str, path: str, body: object = None) -> tuple[str, str]:
        """Code and message of a refusal."""
        try:
            answer = await self.control.call(method, path, body)
        except CallRefused as error:
            return error.code, str(error)
        self.fail(f"not refused: {answer}")

    async def test_from_first_to_last(self) -> None:
        """A gateway is made, changed in part, replaced as a whole and deleted; each answer shows it as it is."""
        made = await self.control.call("POST", "/v1/gateways", {"id": "bot", "cache_ttl": 60, "zdr": True})
        self.assertEqual(
            (made["id"], made["origin"], made["cache_ttl"], made["is_default"]), ("bot", "stored", 60, False)
        )
        changed = await self.control.call("PATCH", "/v1/gateways/bot", {"locked": ["zdr"], "cache_ttl": None})
        self.assertEqual((changed["cache_ttl"], changed["zdr"], changed["locked"]), (None, True, ["zdr"]))
        self.assertGreater(changed["version"], made["version"])
        self.assertEqual(await self.control.call("GET", "/v1/gateways/bot"), changed)
        replaced = await self.control.call("PUT", "/v1/gateways/bot", {"cache_ttl": 90})
        self.assertEqual((replaced["cache_ttl"], replaced["zdr"], replaced["locked"]), (90, False, []))
        gone = await self.control.call("DELETE", "/v1/gateways/bot")
        self.assertEqual(gone["cache_ttl"], 90)
        self.assertIsNone(self.control.gateways.find("local", "bot"))

    async def test_policies_go_with_their_gateway(self) -> None:
        """A gateway that gets the name of a deleted one does not get its policies."""
        await self.control.call("POST", "/v1/gateways", {"id": "bot"})
        await self.control.policies.put("local", "bot", {"committed": {}, "drafts": {}})
        await self.control.call("DELETE", "/v1/gateways/bot")
        self.assertEqual(self.control.policies.all(), [])

    async def test_what_is_shown_can_be_sent_back(self) -> None:
        """What an answer holds and no declaration may is passed over."""
        await self.control.call("POST", "/v1/gateways", {"id": "bot", "account": "acme"})
        shown = await self.control.call("GET", "/v1/gateways/bot?account=acme")
        again = await self.control.call("PUT", "/v1/gateways/bot?account=acme", shown)
        self.assertEqual({**again, "version": 0}, {**shown, "version": 0})

    async def test_wrong_fields(self) -> None:
        """Every mistake is told by the path of its field, and nothing is stored."""
        code, message = await self.refused("POST", "/v1/gateways", {"id": "bot", "cash_ttl": 1, "retry_delay": -1})
        self.assertEqual(code, "settings")
        self.assertEqual(sorted(line.partition(":")[0] for line in message.splitlines()), ["cash_ttl", "retry_delay"])
        self.assertIn("did you mean `cache_ttl`?", message)
        for wrong in ({}, {"id": 5}, {"id": ""}, {"id": "bot", "account": 7}, [1]):
            code, _ = await self.refused("POST", "/v1/gateways", wrong)
            self.assertIn(code, ("settings", "malformed"))
        self.assertEqual(self.control.documents.all(), [])

    async def test_the_settings_file_wins(self) -> None:
        """A gateway of the file is shown as such, and changed there only."""
        shown = await self.control.call("GET", "/v1/gateways/fixed")
        self.assertEqual((shown["origin"], shown["created_at"]), ("file", None))
        for method, body in (("PUT", {}), ("PATCH", {}), ("DELETE", None)):
            code, message = await self.refused(method, "/v1/gateways/fixed", body)
            self.assertEqual(code, "declared")
            self.assertIn("declared in the settings file", message)

    async def test_names_that_lead_nowhere(self) -> None:
        """What is not there can neither be shown nor changed, and what is there cannot be made."""
        for method, body in (("GET", None), ("PUT", {}), ("PATCH", {}), ("DELETE", None)):
            self.assertEqual((await self.refused(method, "/v1/gateways/nobody", body))[0], "no-such-gateway")
        self.assertEqual((await self.refused("POST", "/v1/gateways", {"id": "fixed"}))[0], "exists")

    async def test_the_default_gateway(self) -> None:
        """It is there without having been made, is stored with its first change, and is back when it was deleted."""
        listed = (await self.control.call("GET", "/v1/gateways"))["gateways"]
        self.assertEqual([(one["id"], one["origin"]) for one in listed], [("default", "default"), ("fixed", "file")])
        self.assertEqual((await self.refused("DELETE", "/v1/gateways/default"))[0], "not-stored")
        changed = await self.control.call("PATCH", "/v1/gateways/default", {"zdr": True})
        self.assertEqual((changed["origin"], changed["is_default"]), ("stored", True))
        await self.control.call("DELETE", "/v1/gateways/default")
        self.assertFalse((await self.control.call("GET", "/v1/gateways/default"))["zdr"])

    async def test_without_database(self) -> None:
        """While nothing can be stored, whoever changes something is told so, and why."""
        self.control.documents.available = False
        code, message = await self.refused("POST", "/v1/gateways", {"id": "bot"})
        self.assertEqual(code, "database")
        self.assertIn("nothing can be changed", message)

    async def test_somebody_else_was_faster(self) -> None:
        """Two owners who change a gateway at the same moment do not undo each other's work unseen."""
        await self.control.call("POST", "/v1/gateways", {"id": "bot"})

        async def meanwhile(gateway: Gateway) -> list[str]:
            await self.control.documents.put("local", "bot", {"zdr": True})
            return []

        self.control.gateways.also_check(meanwhile)
        code, _ = await self.refused("PATCH", "/v1/gateways/bot", {"cache_ttl": 5})
        self.assertEqual(code, "conflict")

    async def test_doctor(self) -> None:
        """The operator is told where each gateway comes from, and what is stored in vain."""
        await self.control.documents.put("local", "fixed", {})
        await self.control.call("POST", "/v1/gateways", {"id": "bot", "account": "acme"})
        check = check_gateways(self.control.gateways)
        self.assertEqual(
            check.text,
            "in the settings file: local/fixed; stored: acme/bot; not yet changed: local/default;"
            " stored in vain, since the settings file wins: local/fixed",
        )

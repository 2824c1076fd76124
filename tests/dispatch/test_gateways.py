"""The gateways of this server."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from aigw.codecs.gateway_document import read_stored
from aigw.dispatch.gateways import DeclaredInFile, GatewayEntry, Gateways
from aigw.errors import AigwError, ConfigurationError, StorageUnavailable
from aigw.storage.document_table import VersionConflict
from aigw.testing.documents import MemoryDocuments
from aigw.values.gateway import Gateway


class DeclaredTests(SynchronousTestCase):
    """What the settings file says."""

    def test_default_is_always_there(self) -> None:
        """A server without any declaration has `local/default`, and it wants a token."""
        gateway = Gateways().find("local", "default")
        self.assertTrue(gateway is not None and gateway.authentication)

    def test_declared_default_wins(self) -> None:
        """An owner who declares the default gateway decides about it."""
        gateways = Gateways([Gateway(id="default", authentication=False), Gateway(id="b", account="acme")])
        found = gateways.find("local", "default")
        self.assertFalse(found is None or found.authentication)
        self.assertEqual([(g.account, g.id) for g in gateways.all()], [("acme", "b"), ("local", "default")])

    def test_names_belong_together(self) -> None:
        """A gateway is found under its own account only."""
        gateways = Gateways([Gateway(id="b", account="acme")])
        self.assertIsNone(gateways.find("local", "b"))
        self.assertIsNone(gateways.find("acme", "default"))

    def test_version_after_a_start(self) -> None:
        """A shared cache is not asked for answers that were made under other settings of the file."""
        first, same, other = (Gateways([Gateway(id="a", cache_ttl=ttl)]) for ttl in (60, 60, 90))
        versions = [one.version(one.all()[0]) for one in (first, same, other)]
        self.assertEqual(versions[0], versions[1])
        self.assertNotEqual(versions[0], versions[2])

    def test_nowhere_to_store(self) -> None:
        """Without a store, a change is refused."""
        self.failureResultOf(Deferred.fromCoroutine(Gateways().put("local", "a", {})), AigwError)


class StoredTests(SynchronousTestCase):
    """What owners change while the server runs."""

    def setUp(self) -> None:
        self.documents = MemoryDocuments(read_stored, lambda: 1_000)
        self.gateways = Gateways([Gateway(id="fixed", cache_ttl=60)], self.documents)

    def now(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of what has nothing to wait for."""
        return self.successResultOf(Deferred.fromCoroutine(work))

    def refused(self, work: Coroutine[Any, Any, Any], error: type[Exception]) -> Any:
        return self.failureResultOf(Deferred.fromCoroutine(work), error).value

    def put(self, name: str, fields: Mapping[str, Any], expected_version: int | None = None) -> GatewayEntry:
        entry: GatewayEntry = self.now(self.gateways.put("local", name, fields, expected_version))
        return entry

    def test_a_change_acts_at_once(self) -> None:
        """The next look-up finds the new settings, and their version is greater."""
        first = self.put("a", {"cache_ttl": 60})
        second = self.put("a", {"collect_logs": False})
        self.assertEqual(self.gateways.find("local", "a"), Gateway(id="a", collect_logs=False))
        self.assertGreater(second.version, first.version)
        self.assertEqual((second.origin, second.created_ms), ("stored", 1_000))

    def test_versions_tell_old_settings(self) -> None:
        """Settings are the same object until they change; those that hold no more have no version."""
        self.put("a", {"cache_ttl": 60})
        before = self.gateways.find("local", "a")
        assert before is not None
        self.put("b", {})
        self.assertIs(self.gateways.find("local", "a"), before)
        self.assertEqual(self.gateways.version(before), 1)
        self.put("a", {"cache_ttl": 60})
        self.assertEqual(self.gateways.version(before), -1)

    def test_another_process_changes_something(self) -> None:
        """What another process stored, changed or deleted is what this one serves, and its listeners are told."""
        told: list[tuple[str, str]] = []
        self.gateways.on_changed(lambda account, name: told.append((account, name)))
        self.now(self.documents.put("acme", "x", {"zdr": True}))
        found = self.gateways.find("acme", "x")
        self.assertTrue(found is not None and found.zdr and found.account == "acme")
        self.now(self.documents.delete("acme", "x"))
        self.assertIsNone(self.gateways.find("acme", "x"))
        self.assertEqual(told, [("acme", "x")] * 2)

    def test_a_full_replacement(self) -> None:
        """A field that is not named has its default again."""
        self.put("a", {"cache_ttl": 60, "locked": ["zdr"]})
        self.assertEqual(self.put("a", {"cache_ttl": 90}).gateway, Gateway(id="a", cache_ttl=90))

    def test_only_what_differs_is_stored(self) -> None:
        """A process of the release before can read whatever makes no use of what is new."""
        self.put("a", {"cache_ttl": 60, "zdr": False, "rate_limiting_limit": None})
        stored = self.documents.find("local", "a")
        assert stored is not None
        self.assertEqual(stored.document, {"cache_ttl": 60, "rate_limiting_limit": None})

    def test_wrong_settings_change_nothing(self) -> None:
        """Mistakes are told by the paths of their fields, and the earlier settings hold on."""
        self.put("a", {"cache_ttl": 60})
        error = self.refused(self.gateways.put("local", "a", {"cash_ttl": 1, "zdr": 1}), ConfigurationError)
        self.assertEqual(sorted(one.partition(":")[0] for one in error.problems), ["cash_ttl", "zdr"])
        self.refused(self.gateways.put("local", "no such name", {}), ConfigurationError)
        self.assertEqual(self.gateways.find("local", "a"), Gateway(id="a", cache_ttl=60))

    def test_who_else_is_asked(self) -> None:
        """What cannot work here, for want of an extension for one, is refused when it is set."""

        async def check(gateway: Gateway) -> list[str]:
            return ["zdr: not here"] if gateway.zdr else []

        self.gateways.also_check(check)
        error = self.refused(self.gateways.put("local", "a", {"zdr": True}), ConfigurationError)
        self.assertEqual(error.problems, ["zdr: not here"])
        self.assertIsNone(self.gateways.find("local", "a"))
        self.put("a", {})

    def test_the_file_wins(self) -> None:
        """A gateway of the settings file is changed there only, whatever is stored beside it."""
        self.now(self.documents.put("local", "fixed", {"cache_ttl": 5}))
        entry = self.gateways.entry("local", "fixed")
        self.assertEqual(entry and (entry.origin, entry.gateway.cache_ttl), ("file", 60))
        self.refused(self.gateways.put("local", "fixed", {}), DeclaredInFile)
        self.refused(self.gateways.delete("local", "fixed"), DeclaredInFile)

    def test_two_owners_at_once(self) -> None:
        """Who changes what he has not seen is told so."""
        first = self.put("a", {}, 0)
        self.refused(self.gateways.put("local", "a", {}, 0), VersionConflict)
        self.put("a", {"zdr": True}, first.version)
        self.refused(self.gateways.put("local", "a", {}, first.version), VersionConflict)

    def test_without_database(self) -> None:
        """While nothing can be stored, changes are refused and what is there serves on."""
        self.put("a", {"cache_ttl": 60})
        self.documents.available = False
        self.refused(self.gateways.put("local", "a", {}), StorageUnavailable)
        self.refused(self.gateways.delete("local", "a"), StorageUnavailable)
        self.assertEqual(self.gateways.find("local", "a"), Gateway(id="a", cache_ttl=60))


class Unheard(MemoryDocuments[Gateway]):
    """Documents of a process that no news has reached."""

    def __init__(self, real: MemoryDocuments[Gateway]) -> None:
        super().__init__(read_stored)
        self.real = real

    async def put(self, *arguments: Any) -> Any:
        """See `IDocuments`."""
        return await self.real.put(*arguments)


class DefaultTests(SynchronousTestCase):
    """Section 3.1 of Cloudflare's reference: `default` comes to life by being used."""

    def setUp(self) -> None:
        self.documents = MemoryDocuments(read_stored)
        self.gateways = Gateways([], self.documents)

    def meet(self, account: str, name: str = "default") -> None:
        """A request with a good token."""
        gateway = self.gateways.find(account, name) or self.gateways.unborn(account, name)
        assert gateway is not None
        self.gateways.met(gateway)

    def origins(self) -> list[tuple[str, str]]:
        return [(entry.gateway.account, entry.origin) for entry in self.gateways.entries()]

    def test_first_request(self) -> None:
        """The first request with a token makes the account's `default`, with a token wanted and logs kept."""
        self.assertIsNone(self.gateways.find("acme", "default"))
        self.meet("acme")
        gateway = self.gateways.find("acme", "default")
        assert gateway is not None
        self.assertEqual((gateway.authentication, gateway.collect_logs, gateway.cache_ttl), (True, True, 0))
        self.assertEqual(self.origins(), [("acme", "stored"), ("local", "default")])
        self.meet("local")
        self.assertEqual(self.origins(), [("acme", "stored"), ("local", "stored")])

    def test_no_other_name(self) -> None:
        """Only `default` comes to life by itself."""
        self.assertIsNone(self.gateways.unborn("acme", "production"))

    def test_deleted(self) -> None:
        """A deleted `default` comes back with the next request, as it was in the beginning."""
        for account in ("acme", "local"):
            self.meet(account)
            self.successResultOf(Deferred.fromCoroutine(self.gateways.put(account, "default", {"zdr": True})))
            self.successResultOf(Deferred.fromCoroutine(self.gateways.delete(account, "default")))
            self.meet(account)
            gateway = self.gateways.find(account, "default")
            self.assertFalse(gateway is None or gateway.zdr)
        self.assertEqual(self.origins(), [("acme", "stored"), ("local", "stored")])

    def test_without_database(self) -> None:
        """It works though nothing can be stored, and is stored by the first request that finds the database back."""
        self.documents.available = False
        self.meet("acme")
        before = self.gateways.find("acme", "default")
        self.meet("acme")
        self.assertIs(self.gateways.find("acme", "default"), before)
        self.documents.available = True
        self.meet("acme")
        self.assertEqual(self.origins(), [("acme", "stored"), ("local", "default")])

    def test_another_process_was_first(self) -> None:
        """What an owner has set on another process is not overwritten by one that has not heard of it yet."""
        self.successResultOf(Deferred.fromCoroutine(self.documents.put("acme", "default", {"zdr": True})))
        Gateways([], Unheard(self.documents)).met(Gateway(id="default", account="acme"))
        stored = self.documents.find("acme", "default")
        self.assertTrue(stored is not None and stored.value.zdr)

    def test_declared(self) -> None:
        """A `default` of the settings file is never stored."""
        gateways = Gateways([Gateway(id="default")], self.documents)
        gateway = gateways.find("local", "default")
        assert gateway is not None
        gateways.met(gateway)
        self.assertEqual(self.documents.all(), [])

"""How a server is named, and what is shown of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import ConfigurationError, StorageUnavailable
from aigw.storage.dsn import Dsn, read_dsn


class Names:
    """An `IHostnameResolver` with a few names; asks of those with no entry are left open."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names
        self.late: list[Any] = []

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0) -> Any:
        """See `IHostnameResolver`."""
        receiver.resolutionBegan(None)
        if hostName not in self.names:
            self.late.append(receiver)
            return None
        for address in self.names[hostName]:
            receiver.addressResolved((IPv6Address if ":" in address else IPv4Address)("TCP", address, 0))
        receiver.resolutionComplete()
        return None


class ReadTests(SynchronousTestCase):
    """What an owner may write."""

    def test_both_forms(self) -> None:
        """Keywords and addresses say the same."""
        words = read_dsn("host=db port=5433 dbname=logs user=me password='a b'", {})
        address = read_dsn("postgresql://me:a%20b@db:5433/logs", {})
        self.assertEqual(words.parameters, address.parameters)
        self.assertEqual(read_dsn(words.text, {}).parameters, words.parameters)

    def test_the_password_is_not_shown(self) -> None:
        """Neither text nor repr of a server's name holds its password."""
        dsn = read_dsn("postgresql://me:hunter2@db/logs?sslpassword=hunter2", {})
        self.assertEqual(f"{dsn} {dsn!r}", "host=db dbname=logs user=me <Dsn host=db dbname=logs user=me>")

    def test_a_mistake_is_not_quoted(self) -> None:
        """A text that cannot be read is refused without a piece of it, since that may be the password."""
        for wrong in (
            "host=db password=hunter2 hunter2",
            "postgresql://me:hunter2@db:hunter2/x",
            "hunter2=1",
            "service=hunter2",
            "host=a,b,c port=1,2 password=hunter2",
        ):
            refused = self.assertRaises(ConfigurationError, read_dsn, wrong, {})
            self.assertNotIn("hunter2", str(refused))

    def test_the_environment_names_the_host(self) -> None:
        """PGHOST stands in for a host that is not named, and only then."""
        self.assertEqual(read_dsn("dbname=x", {"PGHOST": "db"}).parameters["host"], "db")
        self.assertEqual(read_dsn("dbname=x host=a", {"PGHOST": "db"}).parameters["host"], "a")

    def test_an_owners_word_counts(self) -> None:
        """Our defaults give way to what the owner wrote."""
        self.assertEqual(read_dsn("application_name=mine", {}).parameters["application_name"], "mine")


class ResolveTests(SynchronousTestCase):
    """Names become addresses before libpq sees them."""

    def resolve(self, text: str, **names: list[str]) -> Dsn:
        """The same server with addresses."""
        return self.successResultOf(Deferred.fromCoroutine(read_dsn(text, {}).resolved(Names(**names))))

    def test_every_address_is_tried(self) -> None:
        """A name with several addresses is tried at each, and certificates are still checked against the name."""
        resolved = self.resolve("host=db port=5433", db=["10.0.0.1", "::1", "10.0.0.1"]).parameters
        self.assertEqual((resolved["host"], resolved["hostaddr"]), ("db,db", "10.0.0.1,::1"))
        self.assertEqual(resolved["port"], "5433,5433")

    def test_several_hosts(self) -> None:
        """Each host keeps its own port; one that is unknown is left out."""
        resolved = self.resolve("host=a,b,10.0.0.3 port=1,2,3", a=["10.0.0.1"], b=[]).parameters
        self.assertEqual((resolved["host"], resolved["port"]), ("a,10.0.0.3", "1,3"))
        self.assertEqual(resolved["hostaddr"], "10.0.0.1,10.0.0.3")

    def test_nothing_to_ask(self) -> None:
        """Socket folders and addresses are left as they are."""
        for text in ("host=/run/x", "host=10.0.0.1", "host=::1", "hostaddr=10.0.0.1 host=db", "dbname=x"):
            self.assertNotIn("hostaddr", set(self.resolve(text).parameters) - set(read_dsn(text, {}).parameters))

    def test_an_unknown_name(self) -> None:
        """A name without an address is an outage like any other."""
        resolving = Deferred.fromCoroutine(read_dsn("host=db password=hunter2", {}).resolved(Names(db=[])))
        failure = self.failureResultOf(resolving, StorageUnavailable)
        self.assertNotIn("hunter2", str(failure.value))

    def test_an_answer_that_comes_too_late(self) -> None:
        """A look-up that was given up may still end, and nobody is hurt."""
        names = Names()
        resolving = Deferred.fromCoroutine(read_dsn("host=db", {}).resolved(names))
        resolving.cancel()
        names.late[0].resolutionComplete()
        self.failureResultOf(resolving)

"""Headers that an owner has locked."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import ANONYMOUS, Bound, Caller
from aigw.controls.locks import NO_LOCKS, apply_locks, in_todays_spelling, locks_of
from aigw.values.gateway import Gateway
from aigw.values.limits import Bounds
from aigw.values.setting_headers import LOCKABLE

NAMING = {f"cf-aig-{name}" for name in ("event-id", "metadata", "session-id", "turn-id")}
NAMING |= {"cf-aig-otel-trace-id", "cf-aig-otel-parent-span-id"}


def holder(*locked: str) -> Bound:
    """A token or a team with these locks."""
    return Bound("token:tok_1", Bounds(locked=locked))


class LocksTests(SynchronousTestCase):
    def ignored(self, gateway: tuple[str, ...], *holders: Bound, sent: frozenset[bytes] = LOCKABLE) -> set[str]:
        """Which headers of a caller are ignored."""
        locks = locks_of(Gateway(id="a", locked=gateway), Caller(bounds=holders))
        settings, ignored = apply_locks(dict.fromkeys(sent, b"v"), locks)
        self.assertEqual({name.decode() for name in sent} - set(ignored), {name.decode() for name in settings})
        self.assertEqual(list(ignored), sorted(ignored))
        return set(ignored)

    def test_no_locks(self) -> None:
        """Without locks, the very same headers hold, and nothing is made for them."""
        settings = {b"cf-aig-skip-cache": b"true"}
        self.assertIs(locks_of(Gateway(id="a"), ANONYMOUS), NO_LOCKS)
        kept, ignored = apply_locks(settings, NO_LOCKS)
        self.assertIs(kept, settings)
        self.assertEqual(ignored, ())

    def test_by_name(self) -> None:
        """A header is locked by its name with the prefix or without, in any case, and by the spelling of old."""
        for name in ("cf-aig-skip-cache", "skip-cache", "Skip-Cache", "CF-AIG-SKIP-CACHE", "cf-skip-cache"):
            self.assertEqual(self.ignored((name,)), {"cf-aig-skip-cache"}, name)

    def test_every_setting(self) -> None:
        """`*` locks whatever changes a setting, also what nobody knows yet, and leaves what names a request alone."""
        tomorrow = frozenset((b"cf-aig-of-tomorrow",))
        every = {name.decode() for name in LOCKABLE | tomorrow}
        self.assertEqual(self.ignored(("*",), sent=LOCKABLE | tomorrow), every - NAMING)
        self.assertEqual(
            self.ignored(("*", "metadata"), sent=LOCKABLE | tomorrow), every - NAMING | {"cf-aig-metadata"}
        )

    def test_all_who_lock(self) -> None:
        """The locks of gateway, token and team hold together; none takes another's back."""
        self.assertEqual(
            self.ignored(("zdr",), holder("backoff"), holder("zdr", "cache-key")),
            {"cf-aig-zdr", "cf-aig-backoff", "cf-aig-cache-key"},
        )

    def test_credentials_are_nobodys_to_lock(self) -> None:
        """A lock that would keep callers out by its name does not."""
        sent = frozenset((b"cf-aig-authorization", b"cf-aig-gateway-id"))
        self.assertEqual(self.ignored(("*", "authorization", "gateway-id"), sent=sent), set())


class SpellingTests(SynchronousTestCase):
    """The spellings without `aig`."""

    def test_old_names(self) -> None:
        """What the oldest pages call `cf-cache-ttl` and `cf-skip-cache` means what it meant."""
        self.assertEqual(
            in_todays_spelling({b"cf-cache-ttl": b"60", b"cf-skip-cache": b"true", b"cf-aig-zdr": b"true"}),
            {b"cf-aig-cache-ttl": b"60", b"cf-aig-skip-cache": b"true", b"cf-aig-zdr": b"true"},
        )

    def test_todays_name_wins(self) -> None:
        """Of both, today's spelling holds, wherever it stands."""
        both = {b"cf-aig-cache-ttl": b"60", b"cf-cache-ttl": b"90"}
        for sent in (both, dict(reversed(both.items()))):
            self.assertEqual(in_todays_spelling(sent), {b"cf-aig-cache-ttl": b"60"})

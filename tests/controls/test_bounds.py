"""What tokens and teams are for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.authentication import Bound, Caller
from aigw.controls.bounds import HolderGuard, bounds_problems, check_origins
from aigw.controls.visit import Ask, Visit
from aigw.errors import NotAllowed, OriginRefused
from aigw.values.gateway import Gateway
from aigw.values.limits import Bounds, LimitRule
from aigw.values.record import Target
from aigw.values.step import Clocks, UpstreamRequest


def caller(*bounds: Bounds) -> Caller:
    """Somebody who is held to some bounds."""
    return Caller("tok_1", True, bounds=tuple(Bound(f"token:{index}", each) for index, each in enumerate(bounds)))


def visit(who: Caller, model: str = "gpt-4o", provider: str = "openai", sure: bool = True) -> Visit:
    """A step of theirs."""
    request = UpstreamRequest(b"POST", b"https://api.example/v1", (), b"{}", Clocks(), False)
    return Visit(
        gateway=Gateway(id="default"),
        caller=who,
        target=Target(provider, "chat/completions", model),
        request=request,
        settings={},
        metadata={},
        raw_metadata=b"",
        ask=Ask(model, sure=sure),
        now_ms=0,
        price=lambda usage, model: None,
    )


class HolderGuardTests(SynchronousTestCase):
    def refused(self, step: Visit) -> str:
        return str(self.assertRaises(NotAllowed, HolderGuard().check, step).detail)

    def test_models(self) -> None:
        """A step for a model that is not listed is refused, and the refusal names the model."""
        ada = caller(Bounds(models=("gpt-*", "o3")))
        for model in ("gpt-4o", "o3"):
            HolderGuard().check(visit(ada, model))
        self.assertEqual(self.refused(visit(ada, "claude")), "model `claude`")

    def test_no_model(self) -> None:
        """Where models are listed, a step that names none is refused, even with a star: nobody knows what it costs."""
        words = "the model cannot be told from the request"
        self.assertEqual(self.refused(visit(caller(Bounds(models=("*",))), "")), words)
        HolderGuard().check(visit(caller(Bounds()), ""))

    def test_a_model_that_cannot_be_told(self) -> None:
        """Naming a permitted model is not enough where the provider may take another one."""
        self.refused(visit(caller(Bounds(models=("gpt-*",))), sure=False))
        HolderGuard().check(visit(caller(Bounds(providers=("openai",))), sure=False))

    def test_providers(self) -> None:
        """A step for a provider that is not listed is refused."""
        ada = caller(Bounds(providers=("openai", "custom-*")))
        HolderGuard().check(visit(ada, provider="custom-mine"))
        self.assertEqual(self.refused(visit(ada, provider="anthropic")), "provider `anthropic`")

    def test_every_holder(self) -> None:
        """The bounds of the team hold beside those of the token: what only one of them allows is refused."""
        ada = caller(Bounds(models=("gpt-*",)), Bounds(models=("*-mini",)))
        HolderGuard().check(visit(ada, "gpt-4o-mini"))
        for model in ("gpt-4o", "o3-mini"):
            self.refused(visit(ada, model))

    def test_a_long_name(self) -> None:
        """A refusal repeats the beginning of a name only."""
        self.assertLess(len(self.refused(visit(caller(Bounds(models=("a",))), "x" * 10_000))), 200)


class OriginTests(SynchronousTestCase):
    def test_pages(self) -> None:
        """A token for one page is for no other, and for no program, which could claim any page."""
        ada = caller(Bounds(origins=("https://app.example",)))
        check_origins(ada, "https://app.example")
        for origin in ("https://evil.example", "http://app.example", "https://app.example:8443", "", None):
            self.assertRaises(OriginRefused, check_origins, ada, origin)

    def test_anywhere(self) -> None:
        """A token without origins is for all."""
        check_origins(caller(Bounds()), None)
        check_origins(Caller(), "https://any.example")


class ProblemsTests(SynchronousTestCase):
    def test_sound_bounds(self) -> None:
        """What an owner may write is taken."""
        rule = LimitRule(limit=10, window=60, models=("gpt-*",))
        origins = ("https://app.example", "http://localhost:3000", "null", "capacitor://localhost")
        self.assertEqual(bounds_problems(Bounds(("gpt-*",), ("openai",), origins, (rule,), ("*", "cf-aig-zdr"))), [])

    def test_wrong_bounds(self) -> None:
        """Every mistake is told with the path of its field."""
        wrong = Bounds(
            models=("", "a b"),
            providers=("x" * 201,),
            origins=("https://app.example/", "https://*.example", "https://App.example"),
            limits=(LimitRule(limit=1.5, window=60), LimitRule(limit=1, window=1, models=("a\n",))),
            locked=("no-such-header",),
        )
        paths = [problem.partition(":")[0] for problem in bounds_problems(wrong)]
        self.assertEqual(
            paths,
            [
                *("bounds.models[0]", "bounds.models[1]", "bounds.providers[0]"),
                *("bounds.origins[0]", "bounds.origins[1]", "bounds.origins[2]"),
                *("bounds.limits[0].limit", "bounds.limits[1].models[0]", "bounds.locked[0]"),
            ],
        )

"""What is taken for a request before anybody knows what it uses."""

from __future__ import annotations

import base64

from twisted.trial.unittest import SynchronousTestCase

from aigw.controls.estimate import MODELS_KEPT, Estimates, EstimateSettings, input_tokens
from aigw.controls.visit import Visit
from aigw.errors import UnpricedModel
from aigw.values.gateway import Gateway
from aigw.values.step import Ask
from aigw.values.usage import Usage
from tests.controls.visits import fixed_price, token_price, visit

GATEWAY = Gateway(id="default")


class TokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.estimates = Estimates(EstimateSettings(output_tokens=500))

    def test_what_the_body_asks_for(self) -> None:
        """A request is estimated at its input and at all the output that it asks for."""
        asked = visit(GATEWAY, body=b"x" * 400, ask=Ask("gpt-4o", output_tokens=200, answers=3))
        self.assertEqual(self.estimates.usage(asked), Usage(101, 600))

    def test_a_model_that_was_not_heard_of(self) -> None:
        """Without a maximum of its own a request is estimated by the setting."""
        self.assertEqual(self.estimates.usage(visit(GATEWAY, ask=Ask(answers=2))).tokens_out, 1000)

    def test_what_a_model_usually_says(self) -> None:
        """After a while, requests without a maximum are estimated by what the model really answers."""
        one, other = visit(GATEWAY), visit(GATEWAY, model="gpt-4o-mini")
        for tokens_out in (100, 100, 200):
            self.estimates.learn(one, Usage(10, tokens_out))
        self.assertEqual(self.estimates.usage(one).tokens_out, 111)
        self.assertEqual(self.estimates.usage(other).tokens_out, 500)

    def test_a_guess_teaches_nothing(self) -> None:
        """Answers that broke off do not make the next estimates smaller."""
        self.estimates.learn(visit(GATEWAY), Usage(10, 1, estimated=True))
        self.assertEqual(self.estimates.usage(visit(GATEWAY)).tokens_out, 500)

    def test_models_without_output(self) -> None:
        """Embeddings answer with no tokens."""
        self.assertEqual(self.estimates.usage(visit(GATEWAY, model_type="embeddings")).tokens_out, 0)

    def test_invented_models_are_bounded(self) -> None:
        """A client that makes up a model for each request fills no memory."""
        for number in range(MODELS_KEPT + 5):
            self.estimates.learn(visit(GATEWAY, model=f"m{number}"), Usage(1, 1))
        self.assertEqual(len(self.estimates._means), MODELS_KEPT)

    def test_amount_and_need(self) -> None:
        """What certainly is used must fit; what may be used is taken."""
        for usage, amount, need in (
            (Usage(100, 900), 1000, 100),
            (Usage(0, 0), 1, 1),
            (Usage(10**20, 5), 10**15, 10**15),
        ):
            self.assertEqual(self.estimates.amount(visit(GATEWAY), "tokens", usage), amount)
            self.assertEqual(self.estimates.need(visit(GATEWAY), "tokens", usage), need)


class InputTests(SynchronousTestCase):
    def test_pictures_are_not_counted_by_their_bytes(self) -> None:
        """A request with a photo is not taken for a book: it would be refused though there is room."""
        photo = base64.b64encode(b"\xff" * 600_000)
        question = b'{"messages":[{"role":"user","content":"' + b"what is it? " * 30
        openai = question + b'","image_url":{"url":"data:image/png;base64,' + photo + b'"}}]}'
        anthropic = question + b'","source":{"type":"base64","data":"' + photo + b'"}}]}'
        spaced = question + b'", "inlineData": {"mimeType": "image/png", "data": "' + photo + b'"}}]}'
        for body in (openai, anthropic, spaced):
            self.assertTrue(1500 < input_tokens(visit(GATEWAY, body=body)) < 1700)
        self.assertTrue(3000 < input_tokens(visit(GATEWAY, body=openai + openai)) < 3400)

    def test_text_is(self) -> None:
        """A long text counts whole."""
        self.assertEqual(input_tokens(visit(GATEWAY, body=b'{"a":"' + b"x" * 40_000 + b'"}')), 10_003)

    def test_other_bodies(self) -> None:
        """A form with a file in it is no text, and a body that streams through cannot be looked at."""
        self.assertEqual(input_tokens(visit(GATEWAY, body=b"--form\r\n" + b"x" * 40_000)), 1500)
        self.assertEqual(input_tokens(visit(GATEWAY, body=object())), 1)  # type: ignore[arg-type]

    def test_a_picture_that_never_ends(self) -> None:
        """A body that is no JSON after all is counted by its bytes."""
        self.assertGreater(input_tokens(visit(GATEWAY, body=b'{"a":";base64,' + b"x" * 40_000)), 10_000)


class MoneyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.estimates = Estimates(EstimateSettings(unpriced_input_usd=3, unpriced_output_usd=10))

    def nanousd(self, step: Visit) -> tuple[int, int]:
        usage = Usage(100, 50)
        return self.estimates.amount(step, "usd", usage), self.estimates.need(step, "usd", usage)

    def test_by_token(self) -> None:
        """All of it is taken, and the input's price must fit."""
        self.assertEqual(self.nanousd(visit(GATEWAY, price=token_price(10, 40))), (3000, 1000))

    def test_a_fixed_price_is_certain(self) -> None:
        """A request that brings its whole price fits whole or not at all."""
        self.assertEqual(self.nanousd(visit(GATEWAY, price=fixed_price(0.001))), (1_000_000, 1_000_000))

    def test_free(self) -> None:
        """What costs nothing still asks whether the budget is spent."""
        self.assertEqual(self.nanousd(visit(GATEWAY, price=fixed_price(0))), (1, 1))

    def test_no_price_for_output(self) -> None:
        """A model that is priced by its input alone has a price."""

        def price(usage: Usage, response_model: str = "") -> int | None:
            return None if usage.tokens_out else usage.tokens_in * 7

        self.assertEqual(self.nanousd(visit(Gateway(id="default", unpriced_models="refuse"), price=price)), (700, 700))

    def test_no_price(self) -> None:
        """A model without a price counts nothing, counts as the owner assumes, or is refused, as the owner chose."""
        self.assertEqual(self.nanousd(visit(Gateway(id="default", unpriced_models="allow"))), (1, 1))
        self.assertEqual(self.nanousd(visit(Gateway(id="default", unpriced_models="estimate"))), (800_000, 300_000))
        error = self.assertRaises(UnpricedModel, self.nanousd, visit(Gateway(id="default", unpriced_models="refuse")))
        self.assertEqual((error.status, error.detail), (403, "openai gpt-4o"))

    def test_absurd_prices(self) -> None:
        """A price beyond all reason still fits a counter of 64 bits, many times over."""
        amount, need = self.nanousd(visit(GATEWAY, price=fixed_price(1e30)))
        self.assertEqual(amount, need)
        self.assertLess(amount * 1000, 2**63)

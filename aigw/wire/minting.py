"""`POST /v1/{account}/{gateway}/tokens`: a backend asks for a short-lived token for one of its users."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import msgspec

from aigw.codecs.settings_check import problems_of
from aigw.controls.minted import Minter, MintForm, minted_view
from aigw.errors import InvalidField, MalformedRequest, MethodNotAllowed
from aigw.serving.http import GatewayRequest, answer_json
from aigw.wire.address import Address
from aigw.wire.cors import allow_origin
from aigw.wire.entry import Door, Entry

_BODY_BYTES = 65_536
_POSITIONS = (b"authorization", b"x-api-key")


@attrs.frozen
class Minting:
    """
    Answers requests for tokens.

    Attributes:
        door: Lets requests in.
        minter: Makes tokens.
    """

    door: Door
    minter: Minter

    def admit(self, request: GatewayRequest, address: Address) -> Callable[[], int]:
        """
        Judge a request by its head.

        Raises:
            GatewayError: It is not let in.
        """
        if request.method != b"POST":
            request.setHeader(b"allow", b"POST")
            raise MethodNotAllowed("a token is asked for with POST")
        entry = self.door.enter(request, address, positions=_POSITIONS)
        request.body_limit = _BODY_BYTES
        return lambda: self._serve(request, entry)

    def _serve(self, request: GatewayRequest, entry: Entry) -> int:
        body = request.content.getvalue() if request.content is not None else b""
        made = self.minter.mint(entry.caller, entry.gateway, read_form(body))
        allow_origin(request)
        return answer_json(request, 201, msgspec.json.encode(minted_view(made)))


def read_form(body: bytes) -> MintForm:
    """
    What is asked for.

    Args:
        body: Of the request; an empty one asks for a token like the one that mints it.
    Raises:
        MalformedRequest: It is no JSON.
        InvalidField: It holds something else than a form has; the text names each field.
    """
    try:
        tree = msgspec.json.decode(body or b"{}")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedRequest("the body is no JSON") from error
    try:
        return msgspec.convert(tree, MintForm)
    except msgspec.ValidationError as error:
        raise InvalidField("; ".join(problems_of(tree, MintForm)) or str(error)) from None

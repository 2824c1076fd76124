"""Token endpoints that a test plays."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.task import Clock

from aigw.providers.credentials import CredentialParts
from aigw.testing.upstream import ScriptedCall, ScriptedUpstream
from aigw.upstream.outbound import Outbound
from aigw.values.step import Clocks, Headers, UpstreamRequest

UTC_S = 1_790_000_000
# Made once: a key takes a while.
KEY = rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPrivateKey = KEY) -> str:
    """A key as Google writes it into a service account."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def service_account(**changed: object) -> bytes:
    """A service account's JSON, with the members that Google's documentation shows; None leaves one out."""
    members = {
        "type": "service_account",
        "project_id": "fake-project",
        "private_key_id": "fake-key-id",
        "private_key": pem(),
        "client_email": "robot@fake-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return json.dumps({name: value for name, value in (members | changed).items() if value is not None}).encode()


def unsigned(headers: Headers = ()) -> UpstreamRequest:
    """A request as it is before it has its credential."""
    return UpstreamRequest(b"POST", b"https://vendor.example/v1", headers, b"{}", Clocks())


class TokenEndpoint:
    """
    What sources are given, with a scripted endpoint behind it.

    Attributes:
        clock: Time; `UTC_S` when it stands at 0.
        parts: For the source.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.upstream = ScriptedUpstream()
        self.parts = CredentialParts(Outbound(self.upstream), lambda: UTC_S + self.clock.seconds(), self.clock.seconds)

    @property
    def asked(self) -> int:
        """How many questions there were."""
        return len(self.upstream.calls)

    @property
    def last(self) -> ScriptedCall:
        """The latest question."""
        return self.upstream.last

    @property
    def form(self) -> dict[str, str]:
        """The fields of the latest question."""
        body = self.last.request.body
        assert isinstance(body, bytes)
        return {name: values[0] for name, values in parse_qs(body.decode()).items()}

    def answer(self, token: str = "fake-token", expires_in: object = 3600, status: int = 200) -> None:
        """Answer the latest question as RFC 6749, 5.1, has it."""
        told = {"access_token": token, "expires_in": expires_in, "token_type": "Bearer"}
        self.last.answer(json.dumps(told).encode(), status)

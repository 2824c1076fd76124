from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet.threads import deferToThread
from websockets.sync.client import connect

from tests.clients import FOLDER, missing_for_node, run_node, sandbox_request, streamed_text
from tests.integration import IntegrationTestCase


class TlsTests(IntegrationTestCase):
    """An `ssl:` endpoint, with clients that verify its certificate."""

    async def setUp(self) -> None:
        await super().setUp()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.certificate = folder / "certificate.pem"
        key = folder / "key.pem"
        _write_pair(self.certificate, key)
        self.options = ["--listen", f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={self.certificate}"]
        self.gateway = await self.start()
        self.url = self.gateway.urls[-1]
        self.assertTrue(self.url.startswith("wss://"))
        self.headers = {"cf-aig-authorization": f"Bearer {self.gateway.token}"}

    async def test_websockets(self) -> None:
        """The Python package `websockets` streams over TLS."""
        messages = await deferToThread(self._stream)
        self.assertEqual(streamed_text(messages), "behind a lock")
        self.assertTrue(messages[-1]["metadata"]["complete"])

    async def test_unknown_certificate(self) -> None:
        """A client that does not know the certificate does not talk."""
        connecting = deferToThread(connect, self.url, additional_headers=self.headers)
        await self.assertFailure(connecting, ssl.SSLCertVerificationError)

    async def test_node(self) -> None:
        """Node's `ws` streams over TLS."""
        plan = {
            "url": self.url,
            "headers": self.headers,
            "messages": [sandbox_request("one", "behind a lock", stream=True)],
        }
        environ = {"NODE_EXTRA_CA_CERTS": str(self.certificate)}
        _, *answer, closed = await run_node(FOLDER / "node_ws.mjs", json.dumps(plan), environ=environ)
        self.assertEqual(streamed_text([line["message"] for line in answer]), "behind a lock")
        self.assertEqual(closed["close"]["code"], 1000)

    test_node.skip = missing_for_node()  # type: ignore[attr-defined]  # how trial is told

    def _stream(self) -> list[dict[str, Any]]:
        """A streamed answer; blocks."""
        trust = ssl.create_default_context(cafile=self.certificate)
        with connect(self.url, ssl=trust, additional_headers=self.headers) as socket:
            socket.send(json.dumps(sandbox_request("one", "behind a lock", stream=True)))
            messages = [json.loads(socket.recv(timeout=60))]
            while messages[-1]["type"] != "universal.done":
                messages.append(json.loads(socket.recv(timeout=60)))
        return messages


def _write_pair(certificate: Path, key: Path) -> None:
    """A key, and a certificate for 127.0.0.1 that nobody but itself vouches for."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aigw test")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

"""Where realtime sockets lead, and what becomes of the keys that come with them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import InvalidField, NotFound
from aigw.providers.realtime import Upgrade
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import ProviderTable
from aigw.values.step import Headers

CLOUDFLARE = "0123456789abcdef0123456789abcdef"
TOKEN = "aigw_" + "0" * 43
LIVE = "ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"

# slug, endpoint, upstream
ADDRESSES = (
    ("openai", "?model=gpt-realtime", "https://api.openai.com/v1/realtime?model=gpt-realtime"),
    ("openai", "realtime?model=gpt-realtime", "https://api.openai.com/v1/realtime?model=gpt-realtime"),
    ("openai", "v1/realtime?model=gpt-realtime", "https://api.openai.com/v1/realtime?model=gpt-realtime"),
    ("openai", "v1/responses", "https://api.openai.com/v1/responses"),
    ("google", "", f"https://generativelanguage.googleapis.com/{LIVE}"),
    ("google", "?api_key=k", f"https://generativelanguage.googleapis.com/{LIVE}"),
    ("google", f"{LIVE}?key=k", f"https://generativelanguage.googleapis.com/{LIVE}"),
    (
        "google-ai-studio",
        LIVE.replace("v1beta", "v1alpha"),
        f"https://generativelanguage.googleapis.com/{LIVE.replace('v1beta', 'v1alpha')}",
    ),
    (
        "cartesia",
        "?cartesia_version=2024-06-10&api_key=k",
        "https://api.cartesia.ai/tts/websocket?cartesia_version=2024-06-10",
    ),
    ("cartesia", "stt/websocket?model=ink", "https://api.cartesia.ai/stt/websocket?model=ink"),
    ("elevenlabs", "?agent_id=a1", "https://api.elevenlabs.io/v1/convai/conversation?agent_id=a1"),
    (
        "elevenlabs",
        "v1/text-to-speech/v1/stream-input?model_id=m",
        "https://api.elevenlabs.io/v1/text-to-speech/v1/stream-input?model_id=m",
    ),
    ("fal", "fal-ai/fast-lcm-diffusion", "https://fal.run/fal-ai/fast-lcm-diffusion"),
    ("deepgram", "v1/listen?model=nova-3", "https://api.deepgram.com/v1/listen?model=nova-3"),
    (
        "workers-ai",
        "?model=@cf/deepgram/nova-3&encoding=linear16",
        f"https://api.cloudflare.com/client/v4/accounts/{CLOUDFLARE}/ai/run/@cf/deepgram/nova-3?encoding=linear16",
    ),
    (
        "workers-ai",
        "?model=%40cf%2Fdeepgram%2Fflux",
        f"https://api.cloudflare.com/client/v4/accounts/{CLOUDFLARE}/ai/run/@cf/deepgram/flux",
    ),
)


def upgrade(
    slug: str,
    endpoint: str = "",
    headers: Headers = (),
    offered: tuple[str, ...] = (),
    settings: ProviderSettings | None = None,
) -> Upgrade:
    """The upgrade as it goes to a vendor."""
    provider = ProviderTable({} if settings is None else {slug: settings}).lookup(slug)
    return provider.upgrade(endpoint, headers, list(offered), CLOUDFLARE)


class AddressTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        """Each address of Cloudflare's pages, and of the vendors' SDKs, leads to the vendor's own."""
        for slug, endpoint, expected in ADDRESSES:
            self.assertEqual(upgrade(slug, endpoint).url.decode(), expected, (slug, endpoint))

    def test_own_server(self) -> None:
        """The operator's own address has the same paths."""
        own = ProviderSettings(base_url="http://10.0.0.7:9000/api")
        self.assertEqual(upgrade("openai", settings=own).url, b"http://10.0.0.7:9000/api/realtime")
        self.assertEqual(
            upgrade("custom-mine", "any/socket?x=1", settings=own).url, b"http://10.0.0.7:9000/api/any/socket?x=1"
        )

    def test_other_vendors(self) -> None:
        """A vendor without sockets is refused as an address where nothing lives."""
        for slug in ("anthropic", "sandbox", "groq"):
            self.assertRaises(NotFound, upgrade, slug)

    def test_path_tricks(self) -> None:
        """No path, and no argument that stands for one, leads to another host or out of the vendor's API."""
        for slug, endpoint in (
            ("openai", "../admin"),
            ("openai", "%2e%2e/admin"),
            ("fal", "//evil.example"),
            ("fal", "https://evil.example"),
            ("workers-ai", "?model=../../../user/tokens"),
            ("workers-ai", "?model=%2e%2e%2f%2e%2e"),
            ("workers-ai", "?model=https://evil.example/"),
            ("workers-ai", "?model=a%3Fb"),
        ):
            self.assertRaises(InvalidField, upgrade, slug, endpoint)


class KeyTests(SynchronousTestCase):
    def test_header(self) -> None:
        """A key in the vendor's own header passes as it is."""
        got = upgrade("openai", "", ((b"Authorization", b"Bearer sk-fake"), (b"openai-beta", b"realtime=v1")))
        self.assertIn((b"authorization", b"Bearer sk-fake"), got.headers)
        self.assertIn((b"openai-beta", b"realtime=v1"), got.headers)

    def test_only_what_an_upgrade_has(self) -> None:
        """An upgrade says nothing of a body, and nothing of the client's own handshake."""
        sent = ((b"sec-websocket-key", b"x"), (b"sec-websocket-extensions", b"permessage-deflate"), (b"cookie", b"a=b"))
        self.assertEqual([name for name, _ in upgrade("openai", "", sent).headers], [b"user-agent"])

    def test_query(self) -> None:
        """A key in the query string goes on in a header: addresses end in logs, here and at the vendor."""
        for slug, header in (("google", b"x-goog-api-key"), ("cartesia", b"x-api-key")):
            got = upgrade(slug, "?api_key=sk-fake%2B1")
            self.assertIn((header, b"sk-fake+1"), got.headers)
            self.assertNotIn(b"sk-fake", got.url)

    def test_subprotocol(self) -> None:
        """A key in a subprotocol goes on in the vendor's header, and is offered to nobody."""
        for slug, name, header, value in (
            ("elevenlabs", "xi-api-key", b"xi-api-key", b"sk-fake"),
            ("fal", "fal-api-key", b"authorization", b"Key sk-fake"),
            ("cartesia", "x-api-key", b"x-api-key", b"sk-fake"),
        ):
            got = upgrade(slug, "", (), ("convai", f"{name}.sk-fake"))
            self.assertIn((header, value), got.headers)
            self.assertEqual(got.subprotocols, ("convai",))

    def test_fal_header(self) -> None:
        """fal's name of the key is known as a header, too."""
        self.assertIn(
            (b"authorization", b"Key sk-fake"), upgrade("fal", "a/b", ((b"fal-api-key", b"sk-fake"),)).headers
        )

    def test_native_subprotocols(self) -> None:
        """Subprotocols that the vendor itself reads a key from pass as they are."""
        offered = ("realtime", "openai-insecure-api-key.sk-fake", "openai-beta.realtime-v1")
        self.assertEqual(upgrade("openai", "", (), offered).subprotocols, offered)
        self.assertEqual(upgrade("deepgram", "v1/listen", (), ("token", "sk-fake")).subprotocols, ("token", "sk-fake"))

    def test_operators_key(self) -> None:
        """The operator's key serves who brings none, and no one who brings one, in whatever position."""
        stored = ProviderSettings(headers={"authorization": "Bearer sk-stored"})
        field = (b"authorization", b"Bearer sk-stored")
        self.assertIn(field, upgrade("openai", settings=stored).headers)
        own = upgrade("openai", "", (), ("realtime", "openai-insecure-api-key.sk-fake"), stored)
        self.assertNotIn(field, own.headers)
        stored = ProviderSettings(headers={"x-goog-api-key": "sk-stored"})
        self.assertNotIn(b"sk-stored", dict(upgrade("google", "?api_key=sk-fake", settings=stored).headers).values())

    def test_gateway_token_goes_nowhere(self) -> None:
        """Whatever position the gateway's own token came in, no vendor sees it."""
        for slug in ("openai", "google", "cartesia", "elevenlabs", "fal", "deepgram", "workers-ai"):
            got = upgrade(
                slug,
                f"?model=m&api_key={TOKEN}&x={TOKEN}&key={TOKEN}",
                (
                    (b"authorization", b"Bearer " + TOKEN.encode()),
                    (b"cf-aig-authorization", TOKEN.encode()),
                    (b"x-goog-api-key", TOKEN.encode()),
                    (b"fal-api-key", TOKEN.encode()),
                ),
                (
                    f"cf-aig-authorization.{TOKEN}",
                    f"CF-AIG-Authorization.{TOKEN}",
                    f"openai-insecure-api-key.{TOKEN}",
                    f"xi-api-key.{TOKEN}",
                    f"fal-api-key.{TOKEN}",
                    "token",
                    TOKEN,
                    "cf-aig-authorization.undefined",
                ),
            )
            self.assertNotIn("aigw_", f"{got.url!r} {got.headers!r} {got.subprotocols!r}", slug)
            self.assertNotIn("cf-aig", f"{got.url!r} {got.headers!r} {got.subprotocols!r}", slug)

    def test_forged_headers(self) -> None:
        """A key cannot carry a header of its own."""
        self.assertRaises(InvalidField, upgrade, "google", "?api_key=a%0d%0ax:y")

"""Which headers a provider gets to see."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import InvalidField
from aigw.providers.headers import outgoing
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import ProviderTable
from aigw.values.step import Headers


def sent(*headers: tuple[bytes, bytes]) -> Headers:
    """What OpenAI gets of these headers, without what is always there."""
    added = {b"accept-encoding", b"content-type", b"user-agent"}
    return tuple(pair for pair in ProviderTable().lookup("openai").headers(headers) if pair[0] not in added)


class PassingTests(SynchronousTestCase):
    """What passes and what stays behind."""

    def test_credentials_pass_unchanged(self) -> None:
        """The client's own key arrives as it was sent, in whatever header the vendor has for it."""
        for name in (b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"xi-api-key"):
            self.assertEqual(sent((name, b"Bearer sk-fake")), ((name, b"Bearer sk-fake"),))

    def test_gateway_tokens_stay_behind(self) -> None:
        """No header with one of the gateway's own tokens goes on, whatever its name and form."""
        for value in (b"aigw_abc", b"Bearer aigw_abc", b"realtime, cf-aig-authorization.aigw_abc", b"k=aigw_abc;x"):
            for name in (b"authorization", b"x-api-key", b"x-goog-api-key", b"x-anything"):
                self.assertEqual(sent((name, value)), ())

    def test_words_that_only_contain_the_prefix_pass(self) -> None:
        """A key that merely contains the letters is no token."""
        self.assertEqual(sent((b"x-api-key", b"sk-xaigw_1")), ((b"x-api-key", b"sk-xaigw_1"),))
        # A whole token is found wherever it stands.
        token = b"aigw_" + b"0" * 43
        for value in (b"key" + token, b"k_" + token, b"Bearer%20" + token, b"%61igw_" + b"0" * 43):
            self.assertEqual(sent((b"x-api-key", value)), (), value)

    def test_headers_of_the_connection_stay_behind(self) -> None:
        """Hop-by-hop headers, framing, cookies and the gateway's own settings are not passed on."""
        for name in (
            b"Host",
            b"content-length",
            b"transfer-encoding",
            b"keep-alive",
            b"te",
            b"trailer",
            b"upgrade",
            b"proxy-authorization",
            b"expect",
            b"Cookie",
            b"cf-aig-cache-ttl",
            b"CF-AIG-Authorization",
            b"cf-cache-ttl",
            b"cf-skip-cache",
            b"x-forwarded-for",
            b"sec-websocket-key",
        ):
            self.assertEqual(sent((name, b"x")), (), name)
        self.assertEqual(
            sent((b"connection", b"close, X-Hop"), (b"x-hop", b"1"), (b"x-stay", b"2")), ((b"x-stay", b"2"),)
        )

    def test_answers_are_asked_for_uncompressed(self) -> None:
        """Whatever the client accepts, the provider is asked for identity, once."""
        headers = outgoing(((b"accept-encoding", b"gzip, br"),), (), ())
        self.assertEqual([value for name, value in headers if name == b"accept-encoding"], [b"identity"])

    def test_what_a_request_needs_is_added(self) -> None:
        """A content type and a user agent are there when the client sent none, and the client's when it did."""
        added = dict(outgoing((), (), ()))
        self.assertEqual((added[b"content-type"], added[b"user-agent"]), (b"application/json", b"aigw"))
        kept = dict(outgoing(((b"Content-Type", b"text/x"), (b"user-agent", b"mine")), (), ()))
        self.assertEqual((kept[b"content-type"], kept[b"user-agent"]), (b"text/x", b"mine"))

    def test_repeated_headers_keep_their_order(self) -> None:
        """A header sent twice arrives twice, in order; names are in lower case, values without outer blanks."""
        self.assertEqual(
            sent((b"X-A", b" 1\t"), (b"x-b", b"2"), (b"x-a", b"3")), ((b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3"))
        )


class RefusalTests(SynchronousTestCase):
    """What could be read as more than one header is refused."""

    def test_control_characters_in_values(self) -> None:
        """Line ends and their lesser-known kin are refused, and the value is not repeated in the error."""
        for byte in b"\r\n\x00\x0b\x0c\x1c\x1d\x1e\x85\x7f\x01":
            error = self.assertRaises(InvalidField, sent, (b"x-a", b"secret" + bytes([byte]) + b"x-b: 1"))
            self.assertNotIn("secret", error.message)

    def test_names_that_are_no_names(self) -> None:
        """Names with spaces, colons, line ends or nothing at all are refused."""
        for name in (b"", b"a b", b"a:", b"a\r\nb", b"\xc3\xa9", b"a\x00", b"(x)", b"x" * 10_000 + b" "):
            error = self.assertRaises(InvalidField, sent, (name, b"1"))
            self.assertLess(len(error.message), 400)

    def test_a_tab_and_other_bytes_pass(self) -> None:
        """A tab and bytes beyond ASCII are legal in values."""
        self.assertEqual(sent((b"x-a", b"a\tb \xe9")), ((b"x-a", b"a\tb \xe9"),))


class ConfiguredTests(SynchronousTestCase):
    """The operator's headers."""

    def test_configured_headers_win_except_over_credentials(self) -> None:
        """The operator's headers replace the client's; a key that the client sent itself is kept."""
        settings = ProviderSettings(headers={"X-Team": "red", "authorization": "Bearer sk-fake-ours"})
        provider = ProviderTable({"openai": settings}).lookup("openai")
        alone = dict(provider.headers(((b"x-team", b"blue"),)))
        self.assertEqual((alone[b"x-team"], alone[b"authorization"]), (b"red", b"Bearer sk-fake-ours"))
        for_own = provider.headers(((b"authorization", b"Bearer sk-fake-theirs"),))
        self.assertEqual([v for n, v in for_own if n == b"authorization"], [b"Bearer sk-fake-theirs"])
        # A gateway token in the credential's place is no credential for the vendor.
        with_token = dict(provider.headers(((b"authorization", b"Bearer aigw_abc"),)))
        self.assertEqual(with_token[b"authorization"], b"Bearer sk-fake-ours")

    def test_fals_target_stays_behind(self) -> None:
        """The header that chose the address is not repeated to fal."""
        headers = ProviderTable().lookup("fal").headers(((b"X-Fal-Target-Url", b"https://fal.run/x"),))
        self.assertNotIn(b"x-fal-target-url", dict(headers))

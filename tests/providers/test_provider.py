"""Every provider and every way to write its paths, as section 3.4 of the gateway's wire lists them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aigw.errors import InvalidField
from aigw.providers.settings import ProviderSettings
from aigw.providers.table import MODULES, ProviderTable
from tests.providers.refusals import ACCOUNT, refused

GEMINI = "v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"

# slug, endpoint as clients write it, address of the vendor.
ADDRESSES = (
    ("openai", "chat/completions", "https://api.openai.com/v1/chat/completions"),
    ("openai", "/chat/completions", "https://api.openai.com/v1/chat/completions"),
    ("openai", "v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
    ("openai", "responses", "https://api.openai.com/v1/responses"),
    ("openai", "v1/responses", "https://api.openai.com/v1/responses"),
    ("openai", "", "https://api.openai.com/v1"),
    ("anthropic", "v1/messages", "https://api.anthropic.com/v1/messages"),
    ("anthropic", "v1/messages?beta=true", "https://api.anthropic.com/v1/messages?beta=true"),
    ("google-ai-studio", GEMINI, f"https://generativelanguage.googleapis.com/{GEMINI}"),
    (
        "google-ai-studio",
        "v1/models/gemini-2.5-flash:generateContent",
        "https://generativelanguage.googleapis.com/v1/models/gemini-2.5-flash:generateContent",
    ),
    (
        "workers-ai",
        "@cf/meta/llama-3.1-8b-instruct",
        f"https://api.cloudflare.com/client/v4/accounts/{ACCOUNT}/ai/run/@cf/meta/llama-3.1-8b-instruct",
    ),
    (
        "workers-ai",
        "run/@cf/meta/llama-3.1-8b-instruct",
        f"https://api.cloudflare.com/client/v4/accounts/{ACCOUNT}/ai/run/@cf/meta/llama-3.1-8b-instruct",
    ),
    (
        "workers-ai",
        "v1/chat/completions",
        f"https://api.cloudflare.com/client/v4/accounts/{ACCOUNT}/ai/v1/chat/completions",
    ),
    ("workers-ai", "v1/embeddings", f"https://api.cloudflare.com/client/v4/accounts/{ACCOUNT}/ai/v1/embeddings"),
    ("groq", "chat/completions", "https://api.groq.com/openai/v1/chat/completions"),
    ("groq", "openai/v1/chat/completions", "https://api.groq.com/openai/v1/chat/completions"),
    ("grok", "chat/completions", "https://api.x.ai/v1/chat/completions"),
    ("grok", "v1/chat/completions", "https://api.x.ai/v1/chat/completions"),
    ("grok", "v1/messages", "https://api.x.ai/v1/messages"),
    ("mistral", "v1/chat/completions", "https://api.mistral.ai/v1/chat/completions"),
    ("mistral", "chat/completions", "https://api.mistral.ai/v1/chat/completions"),
    ("anthropic", "messages", "https://api.anthropic.com/v1/messages"),
    ("anthropic", "messages/count_tokens", "https://api.anthropic.com/v1/messages/count_tokens"),
    ("baseten", "chat/completions", "https://inference.baseten.co/v1/chat/completions"),
    ("deepseek", "chat/completions", "https://api.deepseek.com/chat/completions"),
    ("perplexity-ai", "chat/completions", "https://api.perplexity.ai/chat/completions"),
    ("perplexity", "chat/completions", "https://api.perplexity.ai/chat/completions"),
    ("cerebras", "chat/completions", "https://api.cerebras.ai/v1/chat/completions"),
    ("cerebras", "v1/chat/completions", "https://api.cerebras.ai/v1/chat/completions"),
    ("cohere", "v1/chat", "https://api.cohere.com/v1/chat"),
    ("cohere", "v2/chat", "https://api.cohere.com/v2/chat"),
    ("openrouter", "v1/chat/completions", "https://openrouter.ai/api/v1/chat/completions"),
    ("openrouter", "chat/completions", "https://openrouter.ai/api/v1/chat/completions"),
    ("huggingface", "gpt2", "https://router.huggingface.co/hf-inference/models/gpt2"),
    ("huggingface", "bigcode/starcoder", "https://router.huggingface.co/hf-inference/models/bigcode/starcoder"),
    ("huggingface", "v1/chat/completions", "https://router.huggingface.co/v1/chat/completions"),
    ("replicate", "predictions", "https://api.replicate.com/v1/predictions"),
    ("replicate", "v1/predictions", "https://api.replicate.com/v1/predictions"),
    ("fal", "fal-ai/fast-lcm-diffusion", "https://fal.run/fal-ai/fast-lcm-diffusion"),
    ("ideogram", "v1/ideogram-v3/generate", "https://api.ideogram.ai/v1/ideogram-v3/generate"),
    ("cartesia", "tts/bytes", "https://api.cartesia.ai/tts/bytes"),
    ("elevenlabs", "v1/text-to-speech/abc/stream", "https://api.elevenlabs.io/v1/text-to-speech/abc/stream"),
    ("deepgram", "v1/listen?model=nova-3", "https://api.deepgram.com/v1/listen?model=nova-3"),
    ("baseten", "v1/chat/completions", "https://inference.baseten.co/v1/chat/completions"),
    ("baseten", "model/abc123", "https://model-abc123.api.baseten.co/production/predict"),
    (
        "baseten",
        "model/abc123/environments/staging/predict",
        "https://model-abc123.api.baseten.co/environments/staging/predict",
    ),
    ("parallel", "v1/tasks/runs", "https://api.parallel.ai/v1/tasks/runs"),
    ("parallel", "v1beta/search", "https://api.parallel.ai/v1beta/search"),
    ("parallel", "v1beta/findall/ingest", "https://api.parallel.ai/v1beta/findall/ingest"),
    ("fireworks", "chat/completions", "https://api.fireworks.ai/inference/v1/chat/completions"),
    (
        "azure-openai",
        "my-res/gpt-4o/chat/completions?api-version=2024-10-21",
        "https://my-res.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
    ),
    ("azure", "my-res/anthropic/v1/messages", "https://my-res.services.ai.azure.com/anthropic/v1/messages"),
    (
        "aws-bedrock",
        "bedrock-runtime/us-east-1/model/anthropic.claude-3-5-sonnet-20240620-v1:0/invoke",
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-5-sonnet-20240620-v1:0/invoke",
    ),
    (
        "aws-bedrock",
        "bedrock-runtime/us-gov-west-1/model/amazon.nova-lite-v1%3A0/invoke-with-response-stream",
        "https://bedrock-runtime.us-gov-west-1.amazonaws.com/model/amazon.nova-lite-v1%3A0/invoke-with-response-stream",
    ),
    (
        "aws-bedrock",
        "bedrock-runtime/eu-west-3/model/arn%3Aaws%3Abedrock%3Aeu-west-3%3A1%3Ainference-profile%2Fp/converse-stream",
        "https://bedrock-runtime.eu-west-3.amazonaws.com/model/"
        "arn%3Aaws%3Abedrock%3Aeu-west-3%3A1%3Ainference-profile%2Fp/converse-stream",
    ),
    (
        "aws-bedrock",
        "bedrock-mantle/us-east-1/anthropic/v1/messages",
        "https://bedrock-mantle.us-east-1.api.aws/anthropic/v1/messages",
    ),
    (
        "google-vertex-ai",
        "v1/projects/p-1/locations/us-central1/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
        "https://us-central1-aiplatform.googleapis.com/"
        "v1/projects/p-1/locations/us-central1/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
    ),
    (
        "google-vertex-ai",
        "v1beta1/projects/p-1/locations/global/publishers/anthropic/models/claude-sonnet-4@20250514:rawPredict",
        "https://aiplatform.googleapis.com/"
        "v1beta1/projects/p-1/locations/global/publishers/anthropic/models/claude-sonnet-4@20250514:rawPredict",
    ),
    (
        "google-vertex-ai",
        "v1/projects/p-1/locations/eu/endpoints/openapi/chat/completions",
        "https://aiplatform.eu.rep.googleapis.com/v1/projects/p-1/locations/eu/endpoints/openapi/chat/completions",
    ),
    (
        "google-vertex-ai",
        "v1/publishers/google/models/gemini-2.5-flash:generateContent?key=fake",
        "https://aiplatform.googleapis.com/v1/publishers/google/models/gemini-2.5-flash:generateContent?key=fake",
    ),
    ("sandbox", "chat/completions", "sandbox://local/chat/completions"),
    ("sandbox", "v1/chat/completions", "sandbox://local/chat/completions"),
)


class AddressTests(SynchronousTestCase):
    """What a client writes reaches the vendor's own path."""

    def setUp(self) -> None:
        self.table = ProviderTable()

    def test_every_form(self) -> None:
        """Each documented way to write a path arrives where the vendor has it."""
        for slug, endpoint, expected in ADDRESSES:
            address = self.table.lookup(slug).address(endpoint, account=ACCOUNT)
            self.assertEqual(address, expected.encode(), (slug, endpoint))

    def test_every_provider_has_an_address_here(self) -> None:
        """No provider of the table is left out of the list above."""
        self.assertEqual({slug for slug, _, _ in ADDRESSES} | {"xai", "google"}, set(MODULES))

    def test_an_address_asked_twice_is_the_same(self) -> None:
        """The second request for an endpoint goes where the first went, also for another account."""
        workers = self.table.lookup("workers-ai")
        first = workers.address("@cf/a/b", account=ACCOUNT)
        self.assertEqual(workers.address("@cf/a/b", account=ACCOUNT), first)
        self.assertIn(b"f" * 32, workers.address("@cf/a/b", account="f" * 32))

    def test_unusual_characters_are_encoded(self) -> None:
        """Spaces and letters beyond ASCII are percent-encoded; what is encoded already stays."""
        address = self.table.lookup("mistral").address("v1/files/über uns%20x?q=é ü&n=[1]")
        self.assertEqual(address, b"https://api.mistral.ai/v1/files/%C3%BCber%20uns%20x?q=%C3%A9%20%C3%BC&n=[1]")

    def test_an_at_sign_within_the_path_passes(self) -> None:
        """Version marks such as `model@latest` are no trick."""
        address = self.table.lookup("replicate").address("models/a/b@latest")
        self.assertEqual(address, b"https://api.replicate.com/v1/models/a/b@latest")


class HostTests(SynchronousTestCase):
    """What a request names of a host stays within the vendor's domain."""

    def test_host_forming_segments_are_one_label(self) -> None:
        """An Azure resource or a Baseten model cannot name another host."""
        table = ProviderTable()
        for label in ("evil.example", "a_b", "UPPER", "x" * 64, "a%2eb", "a@b", "a:1", "é", "{resource}"):
            for slug, endpoint in (
                ("azure-openai", f"{label}/gpt-4o/chat/completions"),
                ("azure", f"{label}/anthropic/v1/messages"),
                ("baseten", f"model/{label}"),
                ("aws-bedrock", f"bedrock-runtime/{label}/model/m/invoke"),
                ("aws-bedrock", f"bedrock-mantle/{label}/anthropic/v1/messages"),
                ("google-vertex-ai", f"v1/projects/p/locations/{label}/publishers/google/models/m:generateContent"),
            ):
                self.assertTrue(refused(table.lookup(slug), endpoint), (slug, label))

    def test_a_region_of_aws_is_no_other_service(self) -> None:
        """`bedrock-runtime.s3.amazonaws.com` is a bucket that anybody may own; nothing is sent there."""
        bedrock = ProviderTable().lookup("aws-bedrock")
        for region in ("s3", "s3-us-west-2", "s3-website-us-east-1", "elb", "us", "us-east", "us-east-1-"):
            self.assertTrue(refused(bedrock, f"bedrock-runtime/{region}/model/m/invoke"), region)
        for path in ("model/m/invoke", "bedrock/us-east-1/model/m/invoke", "bedrock-runtime/us-east-1", ""):
            self.assertTrue(refused(bedrock, path), path)

    def test_the_configured_region_serves_paths_without_one(self) -> None:
        """With a region in the settings, the paths of AWS's own SDK are enough."""
        bedrock = ProviderTable({"aws-bedrock": ProviderSettings(region="eu-west-1")}).lookup("aws-bedrock")
        self.assertEqual(
            bedrock.address("model/m/converse"), b"https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse"
        )
        self.assertIn(b".us-east-2.", bedrock.address("bedrock-runtime/us-east-2/model/m/converse"))

    def test_an_azure_path_without_its_parts_is_refused(self) -> None:
        """A path that names no resource gets an error that says so."""
        error = self.assertRaises(InvalidField, ProviderTable().lookup("azure-openai").address, "completions")
        self.assertIn("resource", error.message)

    def test_workers_ai_wants_a_cloudflare_account(self) -> None:
        """Without a Cloudflare account the error names the setting; the gateway's own account does not pass for one."""
        error = self.assertRaises(
            InvalidField, ProviderTable().lookup("workers-ai").address, "@cf/meta/llama", account="local"
        )
        self.assertIn("[providers.workers-ai]", error.message)
        configured = ProviderTable({"workers-ai": ProviderSettings(account="f" * 32)})
        self.assertIn(b"f" * 32, configured.lookup("workers-ai").address("@cf/meta/llama", account="local"))


class FalTargetTests(SynchronousTestCase):
    """fal's client may name the whole address, but only one of fal's."""

    def setUp(self) -> None:
        self.fal = ProviderTable().lookup("fal")

    def test_fals_hosts_pass(self) -> None:
        """The queue and the storage of fal are reached."""
        for target in (
            b"https://fal.run/fal-ai/flux",
            b"https://queue.fal.run/fal-ai/flux/requests/1/status?logs=1",
            b"https://rest.alpha.fal.ai/storage/upload/initiate",
        ):
            self.assertEqual(self.fal.address("", ((b"x-fal-target-url", target),)), target)

    def test_other_hosts_are_refused(self) -> None:
        """A target elsewhere, or one in disguise, is refused."""
        targets = (
            b"https://evil.example/",
            b"http://fal.run/x",
            b"https://fal.run.evil.example/",
            b"https://evilfal.run/",
            b"https://fal.run@evil.example/",
            b"https://user:pw@fal.run/",
            b"https://fal.run:8443/",
            b"https://queue.fal.run:8443/",
            b"https://user@queue.fal.run/",
            b"https://evil.example\\.fal.run/x",
            b"https://evil.example%2f.fal.run/x",
            b"https://.fal.run/x",
            b"https://fal.run\\@evil.example/",
            b"https://fal.run/../x",
            b"https://fal.run#@evil.example/x",
            b"https://FAL.run%2eevil.example/",
            b"//fal.run/x",
            b"fal.run/x",
            b"",
            b"https://[::1]/",
            b"https://[/",
            b"\xff",
        )
        passed = [target for target in targets if not refused(self.fal, "x", ((b"x-fal-target-url", target),))]
        self.assertEqual(passed, [])

    def test_an_overridden_address_keeps_the_host(self) -> None:
        """Where the operator sent fal to a server of their own, a target gives the path only."""
        table = ProviderTable({"fal": ProviderSettings(base_url="http://127.0.0.1:9")})
        address = table.lookup("fal").address("", ((b"x-fal-target-url", b"https://queue.fal.run/a?b=1"),))
        self.assertEqual(address, b"http://127.0.0.1:9/a?b=1")


class ModelTests(SynchronousTestCase):
    """The model that the log shows."""

    def test_the_model_is_found(self) -> None:
        """In the body, in the path or in the query string, as each vendor has it."""
        table = ProviderTable({"custom-mine": ProviderSettings(base_url="http://127.0.0.1:9")})
        body = b'{"messages":[{"role":"user","content":"model"}],"model":"from-body"}'
        for slug, endpoint, expected in (
            ("openai", "chat/completions", "from-body"),
            ("custom-mine", "v1/chat/completions", "from-body"),
            ("google-ai-studio", "v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", "gemini-2.5-pro"),
            ("google-ai-studio", "v1beta/openai/chat/completions", "from-body"),
            ("workers-ai", "run/@cf/meta/llama-3.1-8b-instruct", "@cf/meta/llama-3.1-8b-instruct"),
            ("workers-ai", "v1/chat/completions", "from-body"),
            ("azure-openai", "res/my-deployment/chat/completions?api-version=1", "my-deployment"),
            ("azure", "res/anthropic/v1/messages", "from-body"),
            ("huggingface", "bigcode/starcoder", "bigcode/starcoder"),
            ("huggingface", "bigcode/starcoder/v1/chat/completions", "bigcode/starcoder"),
            ("huggingface", "v1/chat/completions", "from-body"),
            ("replicate", "v1/models/meta/llama-3/predictions", "meta/llama-3"),
            ("fal", "fal-ai/flux/dev", "fal-ai/flux/dev"),
            ("baseten", "model/abc123", "abc123"),
            ("aws-bedrock", "bedrock-runtime/us-east-1/model/a.claude-v1%3A0/invoke", "a.claude-v1:0"),
            ("aws-bedrock", "bedrock-mantle/us-east-1/anthropic/v1/messages", "from-body"),
            ("google-vertex-ai", "v1/projects/p/locations/r/publishers/a/models/c@2:rawPredict", "c@2"),
            ("google-vertex-ai", "v1/projects/p/locations/r/endpoints/openapi/chat/completions", "from-body"),
        ):
            self.assertEqual(table.lookup(slug).ask(body, endpoint).model, expected, (slug, endpoint))

    def test_whether_the_model_is_sure(self) -> None:
        """A query string names the model only where the vendor looks there, and a body that passes unread none."""
        table = ProviderTable()
        for slug, endpoint, body, model, sure in (
            ("deepgram", "v1/listen?model=nova-3&x=1", b"RIFF", "nova-3", True),
            ("deepgram", "v1/listen?model=nova-3", None, "nova-3", True),
            ("deepgram", "v1/listen?model=nova-3&model=nova-2", None, "nova-3", False),
            ("deepgram", "v1/listen", None, "", False),
            ("openai", "v1/realtime?model=gpt-realtime", b"", "gpt-realtime", True),
            ("openai", "v1/audio/transcriptions?model=whisper-1", None, "whisper-1", False),
            ("openai", "v1/chat/completions?model=gpt-4o-mini", b'{"messages":[]}', "gpt-4o-mini", False),
            ("openai", "v1/chat/completions?model=gpt-4o-mini", b'{"model":"gpt-4o"}', "gpt-4o", True),
            ("openai", "v1/models", b"", "", True),
            ("azure-openai", "r/gpt-4o/audio/transcriptions?api-version=1", None, "gpt-4o", True),
        ):
            ask = table.lookup(slug).ask(body, endpoint)
            self.assertEqual((ask.model, ask.sure), (model, sure), (slug, endpoint))


class ReaderTests(SynchronousTestCase):
    """The path decides how an answer is read, the vendor where the path does not."""

    def test_the_family_follows_the_path(self) -> None:
        """A vendor that speaks several wordings is read in the one that was asked for."""
        table = ProviderTable({"custom-mine": ProviderSettings(base_url="http://127.0.0.1:9")})
        for slug, endpoint, family in (
            ("openai", "v1/chat/completions", "openai-chat"),
            ("openai", "responses", "openai-responses"),
            ("openai", "embeddings?x=1", "openai-chat"),
            ("openai", "images/generations", "generic"),
            ("openai", "", "openai-chat"),
            ("anthropic", "v1/messages?beta=true", "anthropic"),
            ("grok", "v1/messages", "anthropic"),
            ("deepseek", "anthropic/v1/messages", "anthropic"),
            ("google-ai-studio", "v1/models/g:generateContent", "google"),
            ("google-ai-studio", "v1beta/openai/chat/completions", "openai-chat"),
            ("workers-ai", "@cf/meta/llama", "workers-ai"),
            ("workers-ai", "v1/chat/completions", "openai-chat"),
            ("cohere", "v2/chat", "cohere"),
            ("huggingface", "gpt2", "huggingface"),
            ("elevenlabs", "v1/text-to-speech/x", "generic"),
            ("azure", "res/anthropic/v1/messages", "anthropic"),
            ("azure-openai", "res/dep/chat/completions?api-version=1", "openai-chat"),
            ("sandbox", "chat/completions", "openai-chat"),
            ("custom-mine", "v1/messages", "anthropic"),
            ("aws-bedrock", "bedrock-runtime/us-east-1/model/m/invoke", "bedrock-invoke"),
            ("aws-bedrock", "bedrock-runtime/us-east-1/model/m/invoke-with-response-stream", "bedrock-invoke"),
            ("aws-bedrock", "bedrock-runtime/us-east-1/model/m/converse", "bedrock-converse"),
            ("aws-bedrock", "bedrock-runtime/us-east-1/model/m/converse-stream", "bedrock-converse"),
            ("aws-bedrock", "bedrock-runtime/us-east-1/openai/v1/chat/completions", "openai-chat"),
            ("aws-bedrock", "bedrock-mantle/us-east-1/anthropic/v1/messages", "anthropic"),
            ("google-vertex-ai", "v1/projects/p/locations/r/publishers/google/models/m:generateContent", "google"),
            ("google-vertex-ai", "v1/projects/p/locations/r/publishers/anthropic/models/m:rawPredict", "anthropic"),
            (
                "google-vertex-ai",
                "v1/projects/p/locations/r/publishers/anthropic/models/m:streamRawPredict",
                "anthropic",
            ),
            (
                "google-vertex-ai",
                "v1/projects/p/locations/r/publishers/mistralai/models/m:streamRawPredict",
                "openai-chat",
            ),
            ("google-vertex-ai", "v1/projects/p/locations/r/publishers/google/models/m:predict", "generic"),
        ):
            self.assertEqual(table.lookup(slug).reader(endpoint).family, family, (slug, endpoint))

    def test_readers_are_not_shared(self) -> None:
        """Two exchanges never read with one reader."""
        openai = ProviderTable().lookup("openai")
        self.assertIsNot(openai.reader("responses"), openai.reader("responses"))

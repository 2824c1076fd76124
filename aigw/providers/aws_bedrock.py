"""Amazon Bedrock. https://docs.aws.amazon.com/bedrock/latest/APIReference/"""

from aigw.providers.aws_signing import AWS_KEYS, REGION
from aigw.providers.paths import Form
from aigw.providers.provider import Provider

PROVIDER = Provider(
    slug="aws-bedrock",
    base_url="https://bedrock-runtime.{region}.amazonaws.com",
    credentials=(b"authorization", b"x-api-key"),
    forms=(
        Form("bedrock-runtime/{region}/{rest}", "{rest}"),
        Form("bedrock-mantle/{region}/{rest}", "{rest}", "https://bedrock-mantle.{region}.api.aws"),
    ),
    families=(
        (r"model/[^/]+/invoke(-with-response-stream)?$", "bedrock-invoke"),
        (r"model/[^/]+/converse(-stream)?$", "bedrock-converse"),
    ),
    prices="aws",
    model_pattern=r"(?:^|/)model/([^/]+)/",
    region_pattern=REGION,
    scheme=AWS_KEYS,
)

"""Lets `twistd` find the gateway."""

from twisted.application.service import ServiceMaker

aigateway = ServiceMaker(
    "aigw",
    "aigw.tap",
    "A self-hosted AI gateway: one WebSocket to every provider, every request logged.",
    "aigateway",
)

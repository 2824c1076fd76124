"""The other gateways: each is installed into an environment of its own and put in front of the same stub."""

from __future__ import annotations

from benchmarks.peers.direct import Direct
from benchmarks.peers.litellm import LiteLLM
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.peer import Peer, Unavailable
from benchmarks.peers.portkey import Portkey
from benchmarks.peers.tensorzero import TensorZero

__all__ = ["PEERS", "Direct", "Peer", "Unavailable"]

# In the order of the table. Without the stub itself, which is no gateway.
PEERS: tuple[Peer, ...] = (Nginx(), TensorZero(), Portkey(), LiteLLM())

"""`network: restricted`: the host's half. The code's connections arrive as streams of frames; a proxy decides what they may reach."""

from gleitzeit_nb.sandbox.network.gateway import Gateway
from gleitzeit_nb.sandbox.network.policy import policy_for
from gleitzeit_nb.sandbox.network.run import RunNetwork, run_network

__all__ = ["Gateway", "RunNetwork", "policy_for", "run_network"]

"""aigw: one WebSocket to every AI provider, and a log of every request."""

__version__ = "0.1.0"

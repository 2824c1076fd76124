"""
Several processes behind the same ports: the parent's side of them, and what both sides share.

The parent listens and never accepts; its workers accept from the same sockets. They talk over pipes, in frames of
MessagePack. A worker whose standard input ends has lost its parent, and stops.
"""

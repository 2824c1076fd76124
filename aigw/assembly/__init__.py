"""
The composition root: the only place that knows every concrete class.

| module | what it puts together |
|---|---|
| steps | what has been started, and has to be stopped in the opposite order |
| garbage | what the collector of cycles need not look at |
| database | one that runs already, or one that is started with the gateway |
| ground | what all else stands on: logs, database, counters, tokens, stored documents |
| controls | what every request passes before a provider is asked |
| applications | the data port |
| operators | the control socket and the control port |
| listening, greeting | ports, and what is said when they are open |
| node | all of it, in order: a gateway of one process |
| parent, worker, together | the same of a gateway of several |
"""

from aigw.assembly.node import Node
from aigw.assembly.parent import Parent
from aigw.assembly.steps import utc_ms

__all__ = ["Node", "Parent", "utc_ms"]

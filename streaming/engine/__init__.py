"""The only threads: inference workers, and what they have to do.

`crew` are they, `work` is what they share, `warmth` what they measure first.
"""

from streaming.core.tally import EngineStats
from streaming.engine.engine import Crossing, Engine
from streaming.engine.facts import facts_of
from streaming.engine.work import Answer, Deliver
from streaming.models.passes import Failed

__all__ = [
    "Answer",
    "Crossing",
    "Deliver",
    "Engine",
    "EngineStats",
    "Failed",
    "facts_of",
]

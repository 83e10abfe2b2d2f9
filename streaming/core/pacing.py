"""When a stream's passes are due: at the pace of speech, however audio came.

A live caller's window is due a budget after its last sample arrived. Audio that
arrives faster than real time (a file pushed at once) gets the slots that it
would have had in real time, so that it never goes before live callers. Knows
positions and times; not which other streams there are, nor what runs the passes.
"""

from __future__ import annotations

from math import inf

from streaming.events import Window

__all__ = ["Pacer"]


class Pacer:
    """Deadlines of one stream; make one per stream.

    A window's arrival slot is `max(arrival of its last sample, the previous
    window's slot + the audio it adds)`, and its deadline is its slot plus the
    latency budget, added once. What a window adds is its samples that no earlier
    window held: the hop in the steady state, nothing for the last window of an
    utterance (its hop was right context before) nor for audio that is cut into
    windows anew. Audio that was gated adds nothing, so a stream whose clock runs
    fast finds back to real time at every pause.

    Attributes:
        budget_s: latency budget; a new one holds for the windows that follow.
    """

    def __init__(self, sample_rate: int, budget_s: float) -> None:
        self.budget_s = budget_s
        self._sample_rate = sample_rate
        self._slot = -inf
        self._end = 0  # samples of the stream up to here were in a window

    def window(self, window: Window, at: int, now: float) -> float:
        """Return the deadline of the stream's next window.

        Args:
            window: the window; windows come in order.
            at: the stream's sample at which the window's utterance begins.
            now: seconds at which the window's last sample arrived.
        """
        end = at + window.start + window.hop + window.right
        added = max(0, end - max(self._end, end - len(window.samples)))
        self._end = max(self._end, end)
        self._slot = max(now, self._slot + added / self._sample_rate)
        return self._slot + self.budget_s

    def full_pass(self, now: float, wait_s: float = 0.0) -> float:
        """Return the deadline of a full pass over an utterance.

        Args:
            now: seconds at which the pass is asked for.
            wait_s: silence still to come before the utterance can end; 0 once
                it has ended.
        """
        return max(now, self._slot) + wait_s + self.budget_s

"""What a client is told first: what holds for its session, anew where it comes back."""

from __future__ import annotations

from collections.abc import Sequence

from streaming.config import LimitConfig
from streaming.core.facts import ModelFacts
from streaming.events import Ready
from streaming.server.sessions import Held

__all__ = ["missed", "ready"]


def ready(
    held: Held, facts: ModelFacts, limits: LimitConfig, after: int | None = None
) -> Ready:
    """What holds for a session.

    Args:
        held: the session.
        facts: of its model.
        limits: as they hold for its dialect.
        after: number of the last message that its client has; None for none.
    """
    config = held.stream.config

    def whole_strides_ms(ms: int) -> int:
        samples = facts.geometry.samples_of_ms(ms)
        return round(1_000 * samples / facts.geometry.sample_rate)

    return Ready(
        session=held.identity.session,
        token=held.identity.token,
        model=facts.name,
        language=config.language or facts.language,
        encoding=config.audio.encoding.value,
        sample_rate=config.audio.sample_rate,
        channels=config.audio.channels,
        budget_ms=held.stream.budget_ms,
        hop_ms=whole_strides_ms(config.window.hop_ms),
        right_ms=whole_strides_ms(config.window.right_ms),
        idle_timeout_s=limits.idle_timeout_s,
        received=held.stream.received,
        state=held.stream.state,
        resume_window_s=limits.resume_window_s,
        after=after,
    )


def missed(
    held: Held, facts: ModelFacts, limits: LimitConfig, after: int
) -> Sequence[str | bytes]:
    """What a client that comes back is sent before anything new.

    Args:
        held: its session, which nothing is received for any more.
        facts: of its model.
        limits: as they hold for its dialect.
        after: number of the last message that it has.

    Raises:
        SessionLost: not all that it missed is kept.
    """
    again = held.adapter.send(ready(held, facts, limits, after))
    return [*again, *held.stream.telling.sent.after(after)]

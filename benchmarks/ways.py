"""Ways to stream: inference, window and finals; the grids of them that are measured.

Text to settings, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streaming.config import Finals, WindowConfig

__all__ = [
    "COMPARED",
    "SHAPES",
    "SWEEP",
    "Way",
    "by_model",
    "shape",
    "swept",
    "ways",
]

SHAPES = {
    "windowed": "1280/480/320 1280/320/320 960/480/480 1280/640/320 640/320/320"
    " 1280/320/640 1600/160/240",
    "stateful": "5120/480/320 5120/320/320 5120/640/320 10240/480/320 5120/320/160"
    " 5120/640/160",
}
"""What is measured unless the command line says otherwise."""

SWEEP = {
    # Hop and right context at the usual left context, then less of that.
    "stateful": "5120/480/320 10240/320/320 10240/320/160 10240/320/0 10240/320/640"
    " 10240/160/320 10240/160/160 10240/160/0"
    " 10240/640/320 10240/640/160 10240/640/0 10240/640/640"
    " 10240/960/320 10240/960/160 10240/960/0"
    " 5120/320/320 5120/640/320 5120/320/160"
    " 2560/320/320 2560/640/320 2560/320/160"
    " 1280/320/320 1280/640/320 1280/320/160",
    "windowed": "1280/480/320 1280/320/320 1280/320/160 1280/320/0 1280/320/640"
    " 1280/640/320 1280/640/160 1280/640/0 640/320/320 2560/320/320 5120/640/320",
}
"""Left context x hop x right context; the first of each with full finals too."""

COMPARED = {
    "stateful": "10240/320/0 10240/320/160 10240/320/320",
    "windowed": "1280/320/0 1280/320/160 1280/320/320",
}
"""What right context does to two checkpoints."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to stream.

    Attributes:
        inference: `windowed` or `stateful`.
        window: its lengths.
        finals: how they are made.
    """

    inference: str
    window: WindowConfig
    finals: Finals

    @property
    def left_ms(self) -> int:
        """Left context, the usual one where the window names none."""
        return self.window.left(stateful=self.inference == "stateful")

    @property
    def shape(self) -> str:
        """Left context, hop and right context in milliseconds."""
        return f"{self.left_ms}/{self.window.hop_ms}/{self.window.right_ms}"

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return f"{self.inference} {self.shape} {self.finals.value}"


def shape(text: str) -> WindowConfig:
    """LEFT/HOP/RIGHT in milliseconds as a window.

    Raises:
        ValueError: it is not.
        ConfigError: a length is out of bounds.
    """
    try:
        left, hop, right = map(int, text.split("/"))
    except ValueError:
        raise ValueError(f"LEFT/HOP/RIGHT in milliseconds, got {text!r}") from None
    return WindowConfig(left, hop, right)


def ways(
    inference: str, shapes: Iterable[WindowConfig], finals: Sequence[Finals]
) -> list[Way]:
    """Every shape with every kind of finals."""
    return [Way(inference, window, kind) for window in shapes for kind in finals]


def swept(inference: str) -> list[Way]:
    """The ways of the sweep: stitched finals, and full ones at the first shape.

    What full finals cost does not depend on the shape: they see their whole span.
    """
    windows = [shape(text) for text in SWEEP[inference].split()]
    return [
        Way(inference, windows[0], Finals.FULL),
        *ways(inference, windows, [Finals.STITCHED]),
    ]


def by_model(asked: Iterable[Way]) -> list[list[Way]]:
    """Those that one loaded model can run together, in order of the first of each.

    How far a stateful model looks back and ahead is fixed when it is loaded.
    """
    groups: dict[tuple[str, int, int], list[Way]] = {}
    for way in asked:
        horizon = (way.left_ms, way.window.right_ms)
        key = way.inference, *(horizon if way.inference == "stateful" else (0, 0))
        groups.setdefault(key, []).append(way)
    return list(groups.values())

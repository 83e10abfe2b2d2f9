"""A number within its bounds, or an error that names it."""

from __future__ import annotations

from streaming.errors import ConfigError

__all__ = ["within"]


def within(name: str, value: float, low: float, high: float) -> None:
    """Refuse what is not in `[low, high]`.

    Raises:
        ConfigError: names it, what it may be and what it is.
    """
    if not low <= value <= high:
        raise ConfigError(f"{name} must be {low:g} to {high:g}, got {value:g}")

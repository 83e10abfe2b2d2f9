"""Programs that measure; definitions and results are in their README.md."""

from __future__ import annotations

__all__: list[str] = []

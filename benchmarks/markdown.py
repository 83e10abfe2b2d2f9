"""Tables as Markdown, to be read in a terminal and pasted into a page."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["print_table"]


def print_table(
    console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Print rows of cells under their heads; the first column names them."""
    table = Table(box=box.MARKDOWN, show_edge=True)
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # As wide as it is: a page wraps it, a pasted table must not be cut.
    wide = Console(file=console.file, width=400, highlight=False)
    wide.print(table)

"""Show calls to a person: who says what, in the order in which it was said.

On a terminal each speaker's running hypothesis is a line below the transcript that
is rewritten; elsewhere turns are plain lines. Knows the records of a call.
"""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from clients.delivery import Record

__all__ = ["CallScreen"]

_COLOURS = {"caller": "cyan", "agent": "magenta"}


class CallScreen:
    """A transcript of calls that grows on a console; use it as a context manager.

    Args:
        console: where turns go.
        notes: where warnings and totals go.
    """

    def __init__(self, console: Console, notes: Console) -> None:
        self._console = console
        self._notes = console if console.is_terminal else notes
        self._running: dict[tuple[str, str], Text] = {}
        self._calls: list[str] = []
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(console=console, transient=True, refresh_per_second=15)

    def __enter__(self) -> CallScreen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, record: Record) -> None:
        """Show what is worth a person's eyes."""
        kind, call = record["type"], record["call"]
        key = (call, record.get("speaker", ""))
        match kind:
            case "call_started":
                self._calls.append(call)
                self.note(f"call {call}")
            case "partial":
                stable, text = record["stable"], record["text"]
                said = Text.assemble((text[:stable], "bold"), (text[stable:], "dim"))
                self._running[key] = self._line(record, "...", said)
            case "final":
                said = Text(record["text"], style="green")
                self._running[key] = self._line(record, "...", said)
            case "turn":
                self._turn(key, record)
            case "digit":
                self.note(
                    f"{record['at']:.2f} s {record['speaker']}: {record['digit']}"
                )
            case "warning":
                self.note(record["message"])
            case "side_ended":
                self.note(_totals(record))
            case "call_ended":
                self._calls.remove(call)
                for each in [each for each in self._running if each[0] == call]:
                    del self._running[each]
            case _:
                return
        self._redraw()

    def note(self, message: str) -> None:
        """Say something that is no part of the transcript."""
        self._notes.print(Text(f"! {message}", style="yellow"), soft_wrap=True)

    def _turn(self, key: tuple[str, str], record: Record) -> None:
        running = self._running.get(key)
        if running is not None and running.plain.endswith(record["text"]):
            del self._running[key]
        said = Text(record["text"], style="green")
        mark = " = " if record["overlaps"] else "   "
        self._console.print(self._line(record, mark, said), soft_wrap=True)

    def _line(self, record: Record, mark: str, said: Text) -> Text:
        speaker = record["speaker"]
        colour = _COLOURS.get(speaker, "blue")
        call = f" {record['call'][:8]}" if len(self._calls) > 1 else ""
        at = record["start"] if record["type"] != "partial" else record["end"]
        who = f"{at:8.2f} s{call} {speaker:7}"
        return Text.assemble((who, colour), f" {mark} ", said)

    def _redraw(self) -> None:
        if self._live is not None:
            self._live.update(Group(*(self._running[k] for k in sorted(self._running))))


def _totals(record: Record) -> str:
    counts = {
        name: record[name]
        for name in ("decoded", "gated", "dropped", "concealed", "unsent")
        if record.get(name)
    }
    said = ", ".join(f"{name} {count}" for name, count in counts.items())
    return f"{record['speaker']}: {record['sent']} samples sent ({said or 'no speech'})"

"""Show a stream to a person: partials turning into finals.

On a terminal the running hypothesis is one line that is rewritten, its stable
part bright and its unstable tail dim; elsewhere every event is a plain line.
Knows nothing of sockets or audio.
"""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from clients.events import (
    Event,
    Final,
    GoAway,
    Load,
    Notice,
    Partial,
    Reconnecting,
    Resumed,
)

__all__ = ["Screen"]


class Screen:
    """A transcript that grows on a console; use it as a context manager.

    Args:
        console: where finals go.
        notes: where warnings go; the console's where None.
        channels: with two, each line says whose it is.
        plain_partials: print partials where there is no terminal to rewrite.
    """

    def __init__(
        self,
        console: Console,
        *,
        notes: Console | None = None,
        channels: int = 1,
        plain_partials: bool = False,
    ) -> None:
        self._console = console
        self._notes = notes or console
        self._channels = channels
        self._plain_partials = plain_partials
        self._running: dict[int, Text] = {}
        self._status = Text()
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(console=console, transient=True, refresh_per_second=15)

    def __enter__(self) -> Screen:
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

    def show(self, event: Event) -> None:
        """Show what is worth a person's eyes; other events pass by."""
        match event:
            case Partial(channel):
                self._running[channel] = line = self._hypothesis(event)
                if self._live is None and self._plain_partials:
                    self._print(line)
            case Final(channel):
                self._running.pop(channel, None)
                if event.text:
                    self._print(self._final(event))
            case Notice(code, message):
                self.note(f"{code}: {message}")
            case GoAway(reason, deadline_s):
                self.note(f"the server will stop in {deadline_s:g} s ({reason})")
            case Reconnecting(why):
                self.note(f"the connection was cut ({why}): reconnecting")
            case Resumed(after_s):
                self.note(f"resumed after {after_s:.1f} s, nothing is lost")
            case Load(level):
                self.note(f"load of the server: {level}")
            case _:
                return
        self._redraw()

    def status(self, line: Text) -> None:
        """Show `line` below the transcript; on a terminal only."""
        self._status = line
        self._redraw()

    def note(self, message: str) -> None:
        """Say something that is no part of the transcript."""
        line = Text(f"! {message}", style="yellow")
        if self._live is not None:
            self._console.print(line, soft_wrap=True)
        else:
            self._notes.print(line, soft_wrap=True)

    def _redraw(self) -> None:
        if self._live is not None:
            lines = [self._running[channel] for channel in sorted(self._running)]
            self._live.update(Group(*lines, self._status))

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)

    def _hypothesis(self, event: Partial) -> Text:
        stable, tail = event.text[: event.stable], event.text[event.stable :]
        if self._live is None:
            return self._line(event.end, event.channel, "...", Text(f"{stable}|{tail}"))
        return self._line(
            event.end,
            event.channel,
            "...",
            Text.assemble((stable, "bold"), (tail, "dim")),
        )

    def _final(self, event: Final) -> Text:
        return self._line(
            event.end, event.channel, "   ", Text(event.text, style="green")
        )

    def _line(self, end: float, channel: int, mark: str, text: Text) -> Text:
        who = f" {channel}" if self._channels > 1 else ""
        return Text.assemble((f"{end:8.2f} s{who} {mark} ", "cyan"), text)

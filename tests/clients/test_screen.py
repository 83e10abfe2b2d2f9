"""What a person sees: plain lines, or one line that is rewritten."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from clients.events import Ack, Final, GoAway, Load, Notice, Partial
from clients.screen import Screen

PARTIAL = Partial(0, 0, "turn on the li", 11, 0.0, 1.5)
FINAL = Final(0, 0, "turn on the light", 0.0, 2.25, 0.9, "full")


def plain(width=80):
    return Console(file=io.StringIO(), highlight=False, width=width)


def terminal():
    return Console(
        file=io.StringIO(), force_terminal=True, highlight=False, width=80, height=20
    )


def shown(console):
    return console.file.getvalue()


def test_without_a_terminal_finals_are_plain_lines():
    console = plain()

    with Screen(console) as screen:
        screen.show(PARTIAL)
        screen.show(FINAL)

    assert "    2.25 s     turn on the light\n" == shown(console)


def test_plain_partials_mark_where_the_stable_part_ends():
    console = plain()

    with Screen(console, plain_partials=True) as screen:
        screen.show(PARTIAL)

    assert "    1.50 s ... turn on the| li\n" == shown(console)


def test_a_long_final_stays_one_line():
    console = plain(width=20)

    with Screen(console) as screen:
        screen.show(Final(0, 0, "word " * 30, 0.0, 1.0, 1.0, "full"))

    assert 1 == shown(console).count("\n")


def test_an_empty_final_is_no_line():
    console = plain()

    with Screen(console) as screen:
        screen.show(Final(0, 0, "", 0.0, 1.0, 1.0, "full"))

    assert "" == shown(console)


def test_markup_in_what_was_heard_is_text():
    console = plain()

    with Screen(console) as screen:
        screen.show(Final(0, 0, "[bold]x[/bold]", 0.0, 1.0, 1.0, "full"))

    assert "[bold]x[/bold]" in shown(console)


def test_two_channels_are_named():
    console = plain()

    with Screen(console, channels=2) as screen:
        screen.show(Final(1, 0, "hello", 0.0, 1.0, 1.0, "full"))

    assert "    1.00 s 1     hello\n" == shown(console)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Notice("clipping", "too loud"), "! clipping: too loud\n"),
        (GoAway("shutdown", 30), "! the server will stop in 30 s (shutdown)\n"),
        (Load("stitched"), "! load of the server: stitched\n"),
        (Ack(5), ""),
    ],
)
def test_warnings_go_beside_the_transcript(event, words):
    console, notes = plain(), plain()

    with Screen(console, notes=notes) as screen:
        screen.show(event)

    assert ("", words) == (shown(console), shown(notes))


def test_on_a_terminal_the_running_line_is_rewritten_and_the_final_stays():
    console = terminal()

    with Screen(console) as screen:
        screen.status(Text("meter"))
        screen.show(PARTIAL)
        screen.show(FINAL)

    assert "turn on the light" in shown(console)
    assert "meter" in shown(console)
    assert "\x1b[2K" in shown(console)  # erased lines

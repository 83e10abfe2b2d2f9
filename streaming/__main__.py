"""`python -m streaming` is `wavestitch`: this is what both begin with.

Ctrl-C ends it with status 130 and no traceback from its first line to its last,
also while it imports and while Python shuts down: then there is nothing to tidy
up, and an interrupt raised in the middle of an import shows as some other error.
"""

from __future__ import annotations

try:
    import os
    import signal
    import sys
except KeyboardInterrupt:
    raise SystemExit(130) from None

__all__ = ["main"]


def main() -> int:
    """Run the command line; returns the exit status."""
    # Otherwise whoever started us ignores Ctrl-C for us, as `nohup` does.
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _leave)
    from streaming.cli import main as run  # noqa: PLC0415  it imports much

    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run()
    except KeyboardInterrupt:  # while it told of another error, say
        return 130
    finally:
        if ours:
            signal.signal(signal.SIGINT, _leave)


def _leave(_number: int, _frame: object) -> None:
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())

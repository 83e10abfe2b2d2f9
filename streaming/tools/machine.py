"""The machine that measures: what it is, and what else it is busy with.

Reads /proc, and says less where there is none. Knows nothing of models.
"""

from __future__ import annotations

import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BusyWatch", "Elsewhere", "Machine", "cores", "this_machine"]

_PROC = Path("/proc")
_STEAL = 7  # field of the first line of /proc/stat; see proc(5)
_IDLE = (3, 4)  # idle, and idle because of input and output
_GUEST = 8  # from here on counted in the fields before


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides how fast it is.

    Attributes:
        processor: as it calls itself.
        cores: that this process may use.
        gpus: by name.
    """

    processor: str
    cores: int
    gpus: tuple[str, ...] = ()


def this_machine(proc: Path = _PROC) -> Machine:
    """Tell what the process runs on."""
    found = re.search(r"^model name\s*:\s*(.+)$", _text(proc / "cpuinfo"), re.MULTILINE)
    processor = found[1].strip() if found else platform.machine()
    told = sorted(proc.glob("driver/nvidia/gpus/*/information"))
    names = (re.search(r"^Model:\s*(.+)$", _text(path), re.MULTILINE) for path in told)
    return Machine(processor, cores(), tuple(name[1].strip() for name in names if name))


def cores() -> int:
    """Cores that are ours, not the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the machine did beside us, in cores.

    Attributes:
        others: taken by other processes.
        stolen: given to other virtual machines by the host.
    """

    others: float = 0.0
    stolen: float = 0.0

    @property
    def much(self) -> bool:
        """So much that what was measured says little."""
        return self.others + self.stolen > 0.05 * cores() + 0.05


class BusyWatch:
    """Watches from when it is made."""

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc
        self._began = self._now()

    def elsewhere(self) -> Elsewhere:
        """What the machine did beside us since."""
        began, now = self._began, self._now()
        wall = now[0] - began[0]
        if wall <= 0:
            return Elsewhere()
        own, busy, stolen = (
            (b - a) / wall for a, b in zip(began[1:], now[1:], strict=True)
        )
        return Elsewhere(max(0.0, busy - own), max(0.0, stolen))

    def _now(self) -> tuple[float, float, float, float]:
        """Seconds: the clock's, ours on processors, everybody's, and stolen ones."""
        times = os.times()
        own = times.user + times.system
        head = _text(self._proc / "stat").partition("\n")[0].split()[1:]
        ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in head]
        if len(ticks) <= _STEAL:
            return time.monotonic(), own, own, 0.0
        busy = sum(ticks[:_GUEST]) - sum(ticks[at] for at in (*_IDLE, _STEAL))
        return time.monotonic(), own, busy, ticks[_STEAL]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

"""How all processes stand together: one status, one page of metrics.

Counts of all ingest processes are added, and those of the engines beside them, so
that a name means what it means in a single process. What a process that died had
counted when it was last asked stays counted.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from streaming.cluster.words import Report
from streaming.core.tally import EngineStats, together
from streaming.server.metrics import EngineCollector
from streaming.server.pages import Seen

__all__ = ["Books"]

# How samples become one, by how their name ends; else they are added.
_TOGETHER: tuple[tuple[str, Callable[[float, float], float]], ...] = (
    ("_created", min),
    ("_load_rung", max),
    ("_load_used", max),
    ("_load_busy", max),
)
_RISING = ("counter", "histogram")

_Key: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]


class Books:
    """The latest reports of each process, and the last of those that died.

    Attributes:
        hung: processes that were ended because they hung.
    """

    def __init__(self) -> None:
        self.hung = 0
        self._seen: dict[Hashable, Seen] = {}
        self._stats: dict[Hashable, EngineStats] = {}
        self._past_pages: list[Metric] = []
        self._past_stats: EngineStats | None = None

    def enter(self, process: Hashable, report: Report) -> None:
        """A process says how it stands."""
        if report.seen is not None:
            self._seen[process] = report.seen
        if report.stats is not None:
            self._stats[process] = report.stats

    def bury(self, process: Hashable) -> None:
        """It is gone: what it has is no more, what it counted remains."""
        seen = self._seen.pop(process, None)
        if seen is not None:
            pages = [*self._past_pages, *_families(seen.metrics)]
            self._past_pages = [m for m in _merged(pages) if m.type in _RISING]
        stats = self._stats.pop(process, None)
        if stats is not None:
            counted = _counted(stats)
            past = self._past_stats
            self._past_stats = together([past, counted] if past else [counted])

    def seen(self) -> Seen:
        """How the whole stands: ready where some ingest process is."""
        statuses = [seen.status for seen in self._seen.values()]
        status = next(iter(sorted(statuses, key=lambda s: s != "ready")), "warming up")
        return Seen(status, self._page())

    def _page(self) -> str:
        families = list(self._past_pages)
        for seen in self._seen.values():
            families += _families(seen.metrics)
        stats = [*self._stats.values()]
        if self._past_stats is not None:
            stats.append(self._past_stats)
        registry = CollectorRegistry()
        about = "Processes that were killed because they hung."
        hung = CounterMetricFamily("wavestitch_processes_hung", about, self.hung)
        registry.register(_Given([*_merged(families), hung]))
        registry.register(EngineCollector(lambda: together(stats) if stats else None))
        return generate_latest(registry).decode()


class _Given(Collector):
    """Families that are ready."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families

    def describe(self) -> list[Metric]:
        """Nothing beforehand."""
        return []


def _families(page: str) -> list[Metric]:
    return list(text_string_to_metric_families(page))


def _merged(families: Iterable[Metric]) -> list[Metric]:
    """One family of each name, one sample of each name and labels."""
    metrics: dict[str, Metric] = {}
    samples: dict[str, dict[_Key, float]] = {}
    for family in families:
        metrics.setdefault(
            family.name, Metric(family.name, family.documentation, family.type)
        )
        values = samples.setdefault(family.name, {})
        for sample in family.samples:
            key = sample.name, tuple(sample.labels.items())
            values[key] = (
                _join(sample.name)(values[key], sample.value)
                if key in values
                else sample.value
            )
    for name, metric in metrics.items():
        for (sample_name, labels), value in samples[name].items():
            metric.add_sample(sample_name, dict(labels), value)
    return list(metrics.values())


def _join(name: str) -> Callable[[float, float], float]:
    for ending, join in _TOGETHER:
        if name.endswith(ending):
            return join
    return _sum


def _sum(one: float, other: float) -> float:
    return one + other


def _counted(stats: EngineStats) -> EngineStats:
    """What of it only rises."""
    return replace(
        stats,
        workers=0,
        busy=0,
        waiting=0,
        waiting_s=0.0,
        late_s=0.0,
        slack_s=float("inf"),
        stateful=False,
        states=0,
        states_most=0,
        hung=0,
        state_bytes=0,
        state_bytes_most=0,
        lateness_s=(),
    )

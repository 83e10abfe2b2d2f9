"""What the server counts, in Prometheus' words.

A registry of its own, so that several servers live in one process. Names and
definitions are those of the measures that the benchmarks print.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from streaming.core.tally import EngineStats

__all__ = ["CONTENT_TYPE_LATEST", "EngineCollector", "Metrics"]

_LATENCY_S = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)

# name, what it says, field of the engine's stats
_GAUGES = (
    ("queue_windows", "Jobs that wait for the model.", "waiting"),
    ("queue_seconds", "Seconds of audio that wait for the model.", "waiting_s"),
    ("late_seconds", "Of them, seconds past their deadline.", "late_s"),
    ("inference_busy", "Passes that run now.", "busy"),
    ("inference_workers", "Passes that may run at once.", "workers"),
    ("inference_stateful", "1: windows keep state; 0: they overlap.", "stateful"),
    ("states_open", "Utterances whose state is open.", "states"),
    ("states_most", "States that there is room for; 0: unknown.", "states_most"),
    ("state_bytes", "Memory of all states.", "state_bytes"),
    ("state_bytes_most", "Memory of the stream with most.", "state_bytes_most"),
    ("inference_hung", "Passes that run absurdly long now.", "hung"),
    ("redundancy", "Samples computed for each decoded.", "redundancy"),
)
_COUNTERS = (
    ("inference_seconds", "Seconds in passes, all workers.", "inference_s"),
    ("windows", "Windows done.", "windows"),
    ("windows_late", "Windows that ended past their deadline.", "windows_late"),
    ("full_passes", "Full passes done.", "full_passes"),
    ("full_passes_given_up", "Full passes not in time.", "given_up"),
    ("inference_hangs", "Passes that ran absurdly long.", "hangs"),
    ("jobs_failed", "Jobs that the model failed.", "failed"),
    ("jobs_cancelled", "Jobs not wanted any more.", "cancelled"),
    ("jobs_refused", "Jobs not taken.", "refused"),
)
# as above, by the kind of pass
_BY_PASS = (
    (
        "computed_samples",
        "Samples in passes, contexts and padding included.",
        "computed_samples",
    ),
    (
        "decoded_samples",
        "Samples that windows moved on by, and of full passes.",
        "decoded_samples",
    ),
)


class Metrics:
    """The instruments of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.connections = self._gauge("connections_open", "Open websockets.")
        self.streams = self._gauge(
            "streams_open", "Audio channels in work, those cut off but undecoded too."
        )
        self.refused = self._counter(
            "connections_refused", "Connections refused, by reason.", "reason"
        )
        self.recordings = self._counter(
            "recordings", "Recordings sent whole, by answer.", "path", "status"
        )
        self.ended = self._counter(
            "sessions_ended", "Sessions ended, by how.", "reason"
        )
        self.away = self._gauge(
            "sessions_away", "Sessions cut off, whose client may come back."
        )
        self.resumed = self._counter(
            "sessions_resumed", "Sessions whose client came back, by state.", "state"
        )
        self.received = self._counter(
            "audio_received_seconds", "Audio received, all channels."
        )
        self.decoded = self._counter("audio_decoded_seconds", "Audio decoded.")
        self.gated = self._counter("audio_gated_seconds", "Audio that was not speech.")
        self.dropped = self._counter(
            "audio_dropped_seconds", "Audio dropped, by reason.", "reason"
        )
        self.finals = self._counter("finals", "Finals, by how they were made.", "pass")
        self.undelivered = self._counter(
            "finals_undelivered", "Finals made after their connection was lost."
        )
        self.coalesced = self._counter(
            "partials_coalesced", "Partials replaced by a newer one before sending."
        )
        self.load_rung = self._gauge(
            "load_rung", "Rung of the load ladder: 0 normal to 5 refuse."
        )
        self.load_transitions = self._counter(
            "load_transitions", "Changes of the rung, by the new one.", "level"
        )
        self.load_used = self._gauge(
            "load_used", "Share of their budget that windows take, 95th percentile."
        )
        self.load_busy = self._gauge(
            "load_busy", "Share of worker time in passes not ahead of their time."
        )
        self.partial_latency = self._histogram(
            "partial_latency_seconds",
            "Arrival of the last sample a partial covers to that partial sent.",
            _LATENCY_S,
        )
        self.finalization_latency = self._histogram(
            "finalization_latency_seconds",
            "Arrival of the end of speech to its final sent, hangover included.",
            _LATENCY_S,
        )
        self.lateness = self._histogram(
            "lateness_seconds", "Results past their deadline by; 0 in time.", _LATENCY_S
        )

    def watch(self, stats: Callable[[], EngineStats | None]) -> None:
        """Report the engine too, asking it at each scrape."""
        self.registry.register(EngineCollector(stats))

    def text(self) -> str:
        """All of it in the exposition format."""
        return generate_latest(self.registry).decode()

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"wavestitch_{name}", about, registry=self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"wavestitch_{name}", about, labels, registry=self.registry)

    def _histogram(
        self, name: str, about: str, buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(
            f"wavestitch_{name}", about, buckets=buckets, registry=self.registry
        )


class EngineCollector(Collector):
    """The engine's own counts, as it has them at the scrape; none without an engine."""

    def __init__(self, stats: Callable[[], EngineStats | None]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Families of one engine's counts."""
        stats = self._stats()
        if stats is None:
            return
        for name, about, field in _GAUGES:
            value = getattr(stats, field)
            yield GaugeMetricFamily(f"wavestitch_{name}", about, value=value)
        for name, about, field in _COUNTERS:
            value = getattr(stats, field)
            yield CounterMetricFamily(f"wavestitch_{name}", about, value=value)
        for name, about, field in _BY_PASS:
            family = CounterMetricFamily(f"wavestitch_{name}", about, labels=["pass"])
            for kind, value in getattr(stats, field):
                family.add_metric([kind.value], value)
            yield family
        counts = accumulate(passes for _, passes in stats.batch_sizes)
        sizes = [f"{size:.1f}" for size, _ in stats.batch_sizes]
        buckets = [*zip(sizes, counts, strict=True), ("+Inf", stats.passes)]
        windows = sum(size * passes for size, passes in stats.batch_sizes)
        yield HistogramMetricFamily(
            "wavestitch_batch_size", "Windows in a pass.", buckets, sum_value=windows
        )

    def describe(self) -> list[Metric]:
        """Nothing beforehand: the engine may not be there yet."""
        return []

"""Settings as frozen dataclasses, one for each room, units in the names.

Validated when made; `replace` from dataclasses validates again. Files, the
environment and flags are merged by the command line only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from streaming.errors import ConfigError

__all__ = [
    "AudioFormat",
    "Config",
    "DecoderConfig",
    "Encoding",
    "EngineConfig",
    "Finals",
    "GateConfig",
    "LimitConfig",
    "ModelConfig",
    "ServerConfig",
    "StreamConfig",
    "WindowConfig",
]


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} must be {low:g} to {high:g}, got {value:g}")


class Encoding(Enum):
    """How a sample is written."""

    PCM_S16LE = "pcm_s16le"
    PCM_S24LE = "pcm_s24le"
    PCM_F32LE = "pcm_f32le"
    MULAW = "mulaw"
    ALAW = "alaw"

    @property
    def width(self) -> int:
        """Bytes a sample."""
        widths = {"pcm_s16le": 2, "pcm_s24le": 3, "pcm_f32le": 4}
        return widths.get(self.value, 1)


class Finals(Enum):
    """How finals are made; `auto` takes the full pass where it is affordable."""

    AUTO = "auto"
    FULL = "full"
    STITCHED = "stitched"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What the bytes of a stream mean.

    Attributes:
        encoding: how a sample is written.
        sample_rate: samples per second and channel.
        channels: 1 or 2, interleaved.
    """

    encoding: Encoding = Encoding.PCM_S16LE
    sample_rate: int = 16_000
    channels: int = 1

    def __post_init__(self) -> None:
        _within("sample_rate", self.sample_rate, 8_000, 48_000)
        _within("channels", self.channels, 1, 2)


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Which audio is speech, and where an utterance begins and ends.

    Attributes:
        vad: `webrtc`, or `silero` with its extra installed.
        vad_mode: WebRTC VAD's aggressiveness, 0 (lets most through) to 3.
        frame_ms: frame of the voice activity detector: 10, 20 or 30.
        onset_frames: frames looked back on for an onset.
        onset_speech_frames: how many of them must be speech.
        pre_roll_ms: audio decoded before the onset, never before the previous end.
        hangover_ms: silence that ends an utterance; it is decoded too.
        max_utterance_s: longest utterance; longer speech is cut at a quiet point.
        blank_extra_ms: blanks after text, beyond the hangover, that end it as well.
    """

    vad: str = "webrtc"
    vad_mode: int = 2
    frame_ms: int = 20
    onset_frames: int = 5
    onset_speech_frames: int = 3
    pre_roll_ms: int = 300
    hangover_ms: int = 500
    max_utterance_s: float = 30.0
    blank_extra_ms: int = 500

    def __post_init__(self) -> None:
        if self.vad not in ("webrtc", "silero"):
            raise ConfigError(f"vad must be webrtc or silero, got {self.vad!r}")
        if self.frame_ms not in (10, 20, 30):
            raise ConfigError(f"frame_ms must be 10, 20 or 30, got {self.frame_ms}")
        _within("vad_mode", self.vad_mode, 0, 3)
        _within("onset_frames", self.onset_frames, 1, 50)
        _within("onset_speech_frames", self.onset_speech_frames, 1, self.onset_frames)
        _within("pre_roll_ms", self.pre_roll_ms, 0, 2_000)
        _within("hangover_ms", self.hangover_ms, 100, 5_000)
        _within("max_utterance_s", self.max_utterance_s, 2, 120)
        _within("blank_extra_ms", self.blank_extra_ms, 100, 5_000)


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """Lengths of a window; each is rounded to whole strides.

    Attributes:
        left_ms: left context. None means what is usual for how the model runs:
            1,200 where windows overlap, since each computes it anew, and 5,120
            where it is kept as state, since there it costs little.
        hop_ms: kept part.
        right_ms: right context.
    """

    left_ms: int | None = None
    hop_ms: int = 480
    right_ms: int = 320

    def left(self, *, stateful: bool) -> int:
        """Milliseconds of left context for a model that runs this way."""
        if self.left_ms is not None:
            return self.left_ms
        return 5_120 if stateful else 1_200

    def __post_init__(self) -> None:
        if self.left_ms is not None:
            _within("left_ms", self.left_ms, 0, 30_000)
        _within("hop_ms", self.hop_ms, 80, 4_000)
        _within("right_ms", self.right_ms, 0, 4_000)


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """How hypotheses are made.

    Attributes:
        finals: full passes, stitched windows, or what is affordable.
        speculate_ms: silence after which a full pass is begun.
        speculate_every_s: least audio between two full passes of one utterance.
    """

    finals: Finals = Finals.AUTO
    speculate_ms: int = 200
    speculate_every_s: float = 2.0

    def __post_init__(self) -> None:
        _within("speculate_ms", self.speculate_ms, 20, 5_000)
        _within("speculate_every_s", self.speculate_every_s, 0.1, 60)


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """What a client may ask for its own stream.

    Attributes:
        audio: what its bytes mean.
        gate: its utterances.
        window: its windows (the server's choice).
        decoder: its hypotheses.
        language: BCP 47 tag; None means the model's.
        partials: whether to send partials.
        words: whether finals carry word times and confidences.
        budget_ms: latency budget of a partial.
        stall_ms: silence on the wire, inside an utterance, that ends it.
    """

    audio: AudioFormat = field(default_factory=AudioFormat)
    gate: GateConfig = field(default_factory=GateConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    language: str | None = None
    partials: bool = True
    words: bool = True
    budget_ms: int = 500
    stall_ms: int = 3_000

    def __post_init__(self) -> None:
        _within("budget_ms", self.budget_ms, 20, 60_000)
        _within("stall_ms", self.stall_ms, 200, 60_000)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which checkpoint, and what runs it.

    Attributes:
        name: folder or hub id; None means the bundled model.
        revision: commit, tag or branch of a hub id; needed for one.
        backend: `onnx`, `torch`, or `auto` (onnx where the checkpoint has it).
        device: `cpu`, `cuda`, `cuda:1`, or `auto`.
        devices: `serve` runs an engine process on each of these instead.
        precision: `int8`, `fp32`, `bf16`, `fp16`, or `auto`.
        trust_pickle: load a `pytorch_model.bin` where there is no safetensors.
        language: which language of a multilingual checkpoint (MMS: `eng`); for
            others the tag to report. None means the checkpoint's own.
        inference: `windowed` (each window computes its left context anew),
            `stateful` (it is kept; wav2vec2 checkpoints only), or `auto`: stateful
            where the checkpoint was trained for it.
        sink_ms: first part of an utterance that stays in the left context of a
            stateful model however long it lasts.
        cache_precision: of the state: `fp32`, `bf16`, `fp16`, or `auto`, the
            precision the model computes in.
    """

    name: str | None = None
    revision: str | None = None
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    trust_pickle: bool = False
    language: str | None = None
    inference: str = "auto"
    sink_ms: int = 0
    cache_precision: str = "auto"
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.inference not in ("auto", "windowed", "stateful"):
            raise ConfigError(
                f"inference must be auto, windowed or stateful, got {self.inference!r}"
            )
        if self.cache_precision not in ("auto", "fp32", "bf16", "fp16"):
            raise ConfigError(
                "cache_precision must be auto, fp32, bf16 or fp16, "
                f"got {self.cache_precision!r}"
            )
        _within("sink_ms", self.sink_ms, 0, 2_000)
        if self.backend not in ("auto", "onnx", "torch"):
            raise ConfigError(
                f"backend must be auto, onnx or torch, got {self.backend!r}"
            )
        for name, device in [
            ("device", self.device),
            *(("devices", each) for each in self.devices),
        ]:
            kind, colon, number = device.partition(":")
            numbered = kind == "cuda" and number.isdecimal()
            if kind not in ("auto", "cpu", "cuda") or (colon and not numbered):
                raise ConfigError(
                    f"{name} must be cpu, cuda, cuda:N or auto, got {device!r}"
                )
        _within("the number of devices", len(self.devices), 0, 64)
        if self.precision not in ("auto", "int8", "fp32", "bf16", "fp16"):
            raise ConfigError(
                "precision must be auto, int8, fp32, bf16 or fp16, "
                f"got {self.precision!r}"
            )


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The inference workers.

    Attributes:
        workers: threads that run the model; 0 means one a core on a CPU, else 1.
        max_batch: most windows in one pass where the device gains from batches.
        queue_s: seconds of audio that may be late; past it new streams are refused.
            As much, for each window of a batch, may wait for full passes; past it
            finals are stitched.
    """

    workers: int = 0
    max_batch: int = 32
    queue_s: float = 60.0

    def __post_init__(self) -> None:
        _within("workers", self.workers, 0, 256)
        _within("max_batch", self.max_batch, 1, 4_096)
        _within("queue_s", self.queue_s, 1, 100_000)


@dataclass(frozen=True, slots=True)
class LimitConfig:
    """What one client may ask of the server.

    Attributes:
        max_connections: open connections; one more is answered 503.
        max_streams: open audio channels, past which new streams are refused; 0 for
            no limit. What `wavestitch capacity` finds for this machine.
        max_speaking_streams: the same for channels in which somebody is speaking.
        max_message_bytes: largest message; a larger one closes 1009.
        max_stream_s: longest stream.
        backlog_s: undecoded audio of one stream past which its socket waits.
        idle_timeout_s: silence on the wire that closes a stream.
        handshake_timeout_s: time to send the opening request.
        ping_interval_s: time between two pings of the server.
        ping_timeout_s: time to answer one; it rests while the socket waits.
        send_timeout_s: time in which a reader must take what is sent to it.
        max_unsent: messages that may wait for a slow reader, partials apart.
        drain_s: time that open streams have to finish after SIGTERM.
    """

    max_connections: int = 1_000
    max_streams: int = 0
    max_speaking_streams: int = 0
    max_message_bytes: int = 16 * 1024 * 1024
    max_stream_s: float = 24 * 3600.0
    backlog_s: float = 30.0
    idle_timeout_s: float = 60.0
    handshake_timeout_s: float = 10.0
    ping_interval_s: float = 20.0
    ping_timeout_s: float = 20.0
    send_timeout_s: float = 20.0
    max_unsent: int = 1_000
    drain_s: float = 30.0

    def __post_init__(self) -> None:
        _within("max_connections", self.max_connections, 1, 1_000_000)
        _within("max_streams", self.max_streams, 0, 1_000_000)
        _within("max_speaking_streams", self.max_speaking_streams, 0, 1_000_000)
        _within("max_message_bytes", self.max_message_bytes, 1_024, 1 << 30)
        _within("max_stream_s", self.max_stream_s, 1, 1e9)
        _within("backlog_s", self.backlog_s, 1, 3_600)
        _within("idle_timeout_s", self.idle_timeout_s, 0.1, 86_400)
        _within("handshake_timeout_s", self.handshake_timeout_s, 0.1, 600)
        _within("ping_interval_s", self.ping_interval_s, 0.01, 3_600)
        _within("ping_timeout_s", self.ping_timeout_s, 0.01, 3_600)
        _within("send_timeout_s", self.send_timeout_s, 0.01, 3_600)
        _within("max_unsent", self.max_unsent, 16, 1_000_000)
        _within("drain_s", self.drain_s, 0, 3_600)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the server listens.

    Attributes:
        host: address to bind.
        port: TCP port; 0 takes a free one.
        ingest: processes that hold the connections, beside engine processes; 0: one
            process does it all, unless `model.devices` names devices.
    """

    host: str = "127.0.0.1"
    port: int = 8770
    ingest: int = 0

    def __post_init__(self) -> None:
        _within("port", self.port, 0, 65_535)
        _within("ingest", self.ingest, 0, 64)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything `wavestitch serve` runs with.

    Attributes:
        server: where to listen.
        limits: what one client may ask.
        model: which checkpoint.
        engine: the workers.
        stream: what a stream gets unless it asks otherwise.
    """

    server: ServerConfig = field(default_factory=ServerConfig)
    limits: LimitConfig = field(default_factory=LimitConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)

    @property
    def several(self) -> bool:
        """More than one process serves."""
        return self.server.ingest > 0 or len(self.model.devices) > 0


BUNDLED_MODEL = Path(__file__).parent / "models" / "bundled"

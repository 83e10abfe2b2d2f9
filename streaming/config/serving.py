"""What serves the streams: the model, the engine, the doors and who may enter."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from streaming.config.bounds import within
from streaming.config.streams import StreamConfig
from streaming.errors import ConfigError

__all__ = [
    "AccessConfig",
    "Config",
    "EngineConfig",
    "LimitConfig",
    "ModelConfig",
    "ServerConfig",
]


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
        within("sink_ms", self.sink_ms, 0, 2_000)
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
        within("the number of devices", len(self.devices), 0, 64)
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
        state_mib: most memory of all states of a stateful model, past which new
            streams are refused; 0: as much as the device has room for.
        hang_s: a pass that runs for so long, and for many times what passes take,
            hangs, and so does a process that says nothing for as long.
    """

    workers: int = 0
    max_batch: int = 32
    queue_s: float = 60.0
    state_mib: int = 0
    hang_s: float = 30.0

    def __post_init__(self) -> None:
        within("workers", self.workers, 0, 256)
        within("max_batch", self.max_batch, 1, 4_096)
        within("queue_s", self.queue_s, 1, 100_000)
        within("state_mib", self.state_mib, 0, 1 << 30)
        within("hang_s", self.hang_s, 1, 86_400)


@dataclass(frozen=True, slots=True)
class LimitConfig:
    """What one client may ask of the server.

    Attributes:
        max_connections: open connections; one more is answered 503.
        max_streams: open audio channels, past which new streams are refused; 0 for
            no limit. What `wavestitch capacity` finds for this machine.
        max_speaking_streams: the same for channels in which somebody is speaking.
        max_message_bytes: largest message; a larger one closes 1009.
        max_stream_s: longest stream, or recording.
        backlog_s: undecoded audio of one stream past which its socket waits.
        idle_timeout_s: silence on the wire that closes a stream.
        handshake_timeout_s: time to send the opening request.
        ping_interval_s: time between two pings of the server.
        ping_timeout_s: time to answer one; it rests while the socket waits.
        send_timeout_s: time in which a reader must take what is sent to it.
        max_unsent: messages that may wait for a slow reader, partials apart.
        resume_window_s: how long a session outlives a cut connection; 0: not at all.
        result_window_s: how long what such a session said last is kept.
        max_kept: messages kept for a client that may come back.
        max_uploads: recordings that are received or heard at a time.
        max_body_bytes: largest recording that is sent in one request.
        body_timeout_s: longest pause in it.
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
    resume_window_s: float = 30.0
    result_window_s: float = 300.0
    max_kept: int = 1_000
    max_uploads: int = 16
    max_body_bytes: int = 256 * 1024 * 1024
    body_timeout_s: float = 30.0
    drain_s: float = 30.0

    def __post_init__(self) -> None:
        within("max_connections", self.max_connections, 1, 1_000_000)
        within("max_streams", self.max_streams, 0, 1_000_000)
        within("max_speaking_streams", self.max_speaking_streams, 0, 1_000_000)
        within("max_message_bytes", self.max_message_bytes, 1_024, 1 << 30)
        within("max_stream_s", self.max_stream_s, 1, 1e9)
        within("backlog_s", self.backlog_s, 1, 3_600)
        within("idle_timeout_s", self.idle_timeout_s, 0.1, 86_400)
        within("handshake_timeout_s", self.handshake_timeout_s, 0.1, 600)
        within("ping_interval_s", self.ping_interval_s, 0.01, 3_600)
        within("ping_timeout_s", self.ping_timeout_s, 0.01, 3_600)
        within("send_timeout_s", self.send_timeout_s, 0.01, 3_600)
        within("max_unsent", self.max_unsent, 16, 1_000_000)
        within("resume_window_s", self.resume_window_s, 0, 3_600)
        within("result_window_s", self.result_window_s, 0, 86_400)
        within("max_kept", self.max_kept, 16, 1_000_000)
        within("max_uploads", self.max_uploads, 0, 10_000)
        within("max_body_bytes", self.max_body_bytes, 1_024, 1 << 40)
        within("body_timeout_s", self.body_timeout_s, 0.05, 3_600)
        within("drain_s", self.drain_s, 0, 3_600)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the server listens.

    Attributes:
        host: address to bind.
        port: TCP port; 0 takes a free one.
        ingest: processes that hold the connections, beside engine processes; 0: one
            process does it all, unless `model.devices` names devices.
        tls_certificate: PEM file of the certificate and its chain; with it the port
            speaks wss and https only.
        tls_key: PEM file of its private key; None: it is in the same file.
    """

    host: str = "127.0.0.1"
    port: int = 8770
    ingest: int = 0
    tls_certificate: str | None = None
    tls_key: str | None = None

    def __post_init__(self) -> None:
        if self.tls_key is not None and self.tls_certificate is None:
            raise ConfigError("tls_key needs a tls_certificate")
        within("port", self.port, 0, 65_535)
        within("ingest", self.ingest, 0, 64)


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """Who may use the server.

    Attributes:
        keys_file: keys as `wavestitch keys add` writes them, one a line, hashed.
        keys: more such lines.
        secret_file: signs the tokens that are given to browsers; None: beside the
            keys file, or without one drawn anew at each start.
        allow_anyone: whoever reaches the port may use it; without keys this is
            needed for any other address than loopback.
        origins: web pages, besides the server's own, whose scripts may use it, such
            as `https://captions.example.com`; `*` for all.
        max_token_s: longest life of a token.
    """

    keys_file: str | None = None
    keys: tuple[str, ...] = ()
    secret_file: str | None = None
    allow_anyone: bool = False
    origins: tuple[str, ...] = ()
    max_token_s: float = 3_600.0

    def __post_init__(self) -> None:
        if self.allow_anyone and (self.keys or self.keys_file is not None):
            raise ConfigError("allow_anyone and keys exclude each other: set one")
        for origin in self.origins:
            if not re.fullmatch(
                r"\*|null|[a-z][a-z0-9+.-]*://[^/?#\s]+", origin, re.IGNORECASE
            ):
                raise ConfigError(
                    "origins must be like https://captions.example.com, or *, "
                    f"got {origin!r}"
                )
        within("max_token_s", self.max_token_s, 1, 30 * 86_400)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything `wavestitch serve` runs with.

    Attributes:
        server: where to listen.
        access: who may use it.
        limits: what one client may ask.
        model: which checkpoint.
        engine: the workers.
        stream: what a stream gets unless it asks otherwise.
    """

    server: ServerConfig = field(default_factory=ServerConfig)
    access: AccessConfig = field(default_factory=AccessConfig)
    limits: LimitConfig = field(default_factory=LimitConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)

    @property
    def reloadable(self) -> bool:
        """It names files that may be read again: keys, a certificate."""
        files = (self.access.keys_file, self.server.tls_certificate)
        return any(file is not None for file in files)

    @property
    def several(self) -> bool:
        """More than one process serves."""
        return self.server.ingest > 0 or len(self.model.devices) > 0

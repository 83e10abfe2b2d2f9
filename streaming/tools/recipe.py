"""What to train and how: a TOML file as frozen dataclasses.

Knows names, units and limits. Reads no audio and imports no torch.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from streaming.errors import ConfigError

__all__ = [
    "Augmentation",
    "CorpusShare",
    "Optimisation",
    "Recipe",
    "Shape",
    "Snippets",
    "Streaming",
    "load_recipe",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CorpusShare:
    """How much of the training comes from one corpus.

    Attributes:
        name: the manifest's `corpus` value.
        weight: hours drawn from it, relative to the other corpora's weights.
        join: most utterances strung together into one, pauses between them.
        speed: slowest and fastest playback, which moves pitch and formants too.
        trim_db: half of its recordings are cut to what lies between the first and the
            last frame that is louder than this far under the loudest, drawn between
            the two; (0, 0) cuts none. For corpora of single words: people's own come
            from recorders that cut so, and lose their softest sounds ("six" its s).
        hold_out: keep one utterance in this many out of training (0: none).
    """

    name: str
    weight: float
    join: int = 1
    speed: tuple[float, float] = (0.88, 1.14)
    trim_db: tuple[float, float] = (0.0, 0.0)
    hold_out: int = 0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ConfigError(
                f"corpus {self.name}: weight must be 0 or more, got {self.weight}"
            )
        if self.join < 1:
            raise ConfigError(
                f"corpus {self.name}: join must be 1 or more, got {self.join}"
            )
        if not 0 <= self.trim_db[0] <= self.trim_db[1]:
            raise ConfigError(
                f"corpus {self.name}: trim_db must rise from 0 or more, "
                f"got {self.trim_db}"
            )
        if not 0.3 <= self.speed[0] <= self.speed[1] <= 3:
            raise ConfigError(
                f"corpus {self.name}: speed must rise within 0.3..3, got {self.speed}"
            )


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Chances (0..1) of each distortion for one utterance, and its range.

    Attributes:
        ramp_steps: the chances, and the masking of `shape`, are zero until the first
            of these updates and rise to full at the second: CTC leaves its blank
            plateau in half the updates on clean speech.
        coding_db: how far noise that rises and falls with the speech lies under it,
            as poor coders leave it (ITU-T P.810, modulated noise reference unit).
        low_cut_hz: corner below which a small microphone, or one that suppresses
            rumble, falls off by 6 or 12 dB an octave: nasals lose most of theirs.
        dynamics: what decibels under the loudest 10 ms are multiplied by, as
            recorders do that suppress noise (over 1, soft sounds nearly go) or
            level it all (under 1).
    """

    ramp_steps: tuple[int, int] = (1_000, 4_000)

    noise_chance: float = 0.5
    snr_db: tuple[float, float] = (3.0, 30.0)
    room_chance: float = 0.25
    telephone_chance: float = 0.3
    coding_chance: float = 0.1
    coding_db: tuple[float, float] = (8.0, 30.0)
    tilt_chance: float = 0.5
    tilt_db: float = 6.0
    dynamics_chance: float = 0.1
    dynamics: tuple[float, float] = (0.7, 1.8)
    low_cut_chance: float = 0.1
    low_cut_hz: tuple[float, float] = (80.0, 600.0)
    pause_s: tuple[float, float] = (0.05, 0.5)
    edge_s: tuple[float, float] = (0.0, 0.4)

    def strength_at(self, step: int) -> float:
        """Share of the chances that holds at update `step`, 0 to 1."""
        first, last = self.ramp_steps
        return min(1.0, max(0.0, (step - first) / max(1, last - first)))


@dataclass(frozen=True, slots=True)
class Optimisation:
    """The schedule: linear warm-up, a plateau, linear decay to a twentieth.

    Attributes:
        steps: updates in all.
        batch_seconds: `[first update, seconds of audio]` pairs, rising: CTC leaves
            its blank plateau after a number of updates, so start small.
        accumulate: passes that make up one update.
    """

    steps: int = 10_000
    warmup_steps: int = 400
    decay_steps: int = 3_000
    peak_rate: float = 1e-3
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    batch_seconds: tuple[tuple[int, float], ...] = ((0, 20.0), (1_500, 60.0))
    accumulate: int = 1
    average_decay: float = 0.999
    middle_ctc_weight: float = 0.3
    max_utterance_s: float = 16.0

    def seconds_at(self, step: int) -> float:
        """Seconds of audio in the batch of update `step`."""
        return next(s for first, s in reversed(self.batch_seconds) if step >= first)

    def rate_at(self, step: int) -> float:
        """Learning rate of update `step`."""
        rising = min(1.0, (step + 1) / self.warmup_steps)
        left = (self.steps - step) / max(1, self.decay_steps)
        return self.peak_rate * min(rising, max(0.05, min(1.0, left)))


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the `Wav2Vec2ForCTC` that is trained from nothing.

    Passed on to `Wav2Vec2Config` as they are; strides must multiply to 320.
    """

    hidden_size: int = 256
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    conv_dim: tuple[int, ...] = (256, 256, 256)
    conv_kernel: tuple[int, ...] = (400, 4, 4)
    conv_stride: tuple[int, ...] = (80, 2, 2)
    num_conv_pos_embeddings: int = 32
    num_conv_pos_embedding_groups: int = 16
    hidden_dropout: float = 0.1
    mask_time_prob: float = 0.1
    mask_time_length: int = 5
    mask_feature_prob: float = 0.1
    mask_feature_length: int = 16


@dataclass(frozen=True, slots=True)
class Streaming:
    """Train for a stream too: most batches see in chunks, the others in full.

    A step (320 samples) sees its chunk and a bounded past; each batch draws both,
    log-uniformly, and where the first chunk ends.

    Attributes:
        full_chance: share of batches with full attention, 0 to 1.
        chunk_steps: shortest and longest chunk.
        left_steps: shortest and longest past, before the chunk's first step.
        unlimited_chance: share of the chunked batches whose past has no bound.
        tests: test corpora that are heard in chunks too while training, as
            `NAME@chunk`; empty for all.
        test_chunk_steps: their chunk, without any right context.
        test_left_steps: their past.
    """

    full_chance: float = 0.4
    chunk_steps: tuple[int, int] = (8, 64)
    left_steps: tuple[int, int] = (32, 256)
    unlimited_chance: float = 0.25
    tests: tuple[str, ...] = ()
    test_chunk_steps: int = 32
    test_left_steps: int = 256

    def __post_init__(self) -> None:
        for name in ("full_chance", "unlimited_chance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"streaming: {name} must be 0 to 1, got {getattr(self, name)}"
                )
        for name in ("chunk_steps", "left_steps"):
            bounds = getattr(self, name)
            pair = isinstance(bounds, tuple) and len(bounds) == 2
            whole = pair and all(isinstance(bound, int) for bound in bounds)
            if not whole or not 1 <= bounds[0] <= bounds[1]:
                raise ConfigError(
                    f"streaming: {name} must be two whole numbers that rise from "
                    f"1 or more, got {bounds}"
                )
        if self.test_chunk_steps < 1 or self.test_left_steps < 0:
            raise ConfigError(
                "streaming: test_chunk_steps must be 1 or more and test_left_steps "
                f"0 or more, got {self.test_chunk_steps} and {self.test_left_steps}"
            )


@dataclass(frozen=True, slots=True)
class Snippets:
    """Words and phrases to cut out of longer recordings, and to train on too.

    They are drawn as corpora of their own, `snippet_words` and `snippet_phrases`.

    Attributes:
        corpora: which corpora to cut.
        model: checkpoint folder that finds the words, half trained is enough; its
            alphabet must be the recipe's.
        words: these are cut out alone.
        phrase_words: everything is cut into phrases of 1 to this many words as
            well; 0 for none.
        seed: of the phrases' lengths.
    """

    corpora: tuple[str, ...]
    model: Path
    words: tuple[str, ...] = ()
    phrase_words: int = 4
    seed: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.phrase_words, int) or self.phrase_words < 0:
            raise ConfigError(
                f"snippets: phrase_words must be 0 or more, got {self.phrase_words!r}"
            )
        if not self.corpora:
            raise ConfigError("snippets: corpora must name one or more")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything `wavestitch train` needs.

    Attributes:
        manifests: JSON-lines manifests to train on.
        noise: manifest of background noises (`kind` noise) and rooms (`kind` rir).
        tests: manifests to evaluate on while training.
        start: checkpoint folder to fine-tune; a fresh `shape` otherwise.
        synthetic_hours: hours of synthesized speech to make and add (0: none).
        sentences: text file for the synthesized sentences.
        alphabet: characters of the vocabulary beside the word border.
        seed: of everything random.
        streaming: train for streams too; None for whole utterances only.
        snippets: cut words out of longer recordings; None for none.
    """

    manifests: tuple[Path, ...]
    corpora: tuple[CorpusShare, ...]
    noise: Path | None = None
    tests: tuple[Path, ...] = ()
    start: Path | None = None
    synthetic_hours: float = 0.0
    sentences: Path | None = None
    alphabet: str = "'abcdefghijklmnopqrstuvwxyz"
    language: str = "en"
    seed: int = 1
    shape: Shape = field(default_factory=Shape)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimisation: Optimisation = field(default_factory=Optimisation)
    streaming: Streaming | None = None
    snippets: Snippets | None = None

    def with_manifest(self, path: Path) -> Recipe:
        """This recipe with one more manifest to train on."""
        return replace(self, manifests=(*self.manifests, path))


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; relative paths count from the recipe's folder.

    Raises:
        ConfigError: names the unknown, missing or wrong key.
    """
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    here = path.parent
    for key in ("noise", "start", "sentences"):
        if key in table:
            table[key] = here / table[key]
    for key in ("manifests", "tests"):
        if key in table:
            table[key] = tuple(here / item for item in table[key])
    table["corpora"] = tuple(
        _build(CorpusShare, {"name": name, **share})
        for name, share in table.pop("corpora", {}).items()
    )
    for key, kind in (
        ("shape", Shape),
        ("augmentation", Augmentation),
        ("optimisation", Optimisation),
    ):
        table[key] = _build(kind, table.get(key, {}))
    if "streaming" in table:
        table["streaming"] = _build(Streaming, table["streaming"])
    if "snippets" in table:
        cut = table["snippets"]
        if "model" in cut:
            cut["model"] = here / cut["model"]
        table["snippets"] = _build(Snippets, cut)
    return _build(Recipe, table)


def _build(kind: type[T], table: dict[str, Any]) -> T:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := set(table) - known:
        raise ConfigError(
            f"{kind.__name__}: unknown {', '.join(sorted(unknown))}; "
            f"known are {', '.join(sorted(known))}"
        )
    try:
        return kind(**{k: _tuples(v) for k, v in table.items()})
    except TypeError as error:
        raise ConfigError(f"{kind.__name__}: {error}") from error


def _tuples(value: Any) -> Any:
    return (
        tuple(_tuples(v) for v in value) if isinstance(value, (list, tuple)) else value
    )

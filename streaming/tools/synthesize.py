"""Make training speech with free synthesizers: espeak-ng and flite.

Knows which phrases the bundled model is meant to hear (digits, letters,
codes, numbers, commands, read sentences) and how to have them spoken by many
voices. Knows nothing of models. One seed gives the same corpus again.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile
import soxr

from streaming.errors import ConfigError

__all__ = ["Phrase", "Synthesis", "synthesize"]

DIGITS = "zero one two three four five six seven eight nine".split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEENS = (
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh "
    "twelfth thirteenth fourteenth fifteenth twentieth thirtieth"
).split()
MONTHS = (
    "january february march april may june july august september october "
    "november december"
).split()
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
COMMANDS = (
    "yes no up down left right on off stop go bed bird cat dog happy house marvin "
    "sheila tree wow zero one two three four five six seven eight nine"
).split()
ORDERS = (
    "start|open|close|cancel|repeat|help|okay|next|back|again|please|thank you|hello|"
    "goodbye|turn on the light|turn off the light|turn on the lights|volume up|"
    "volume down|play music|pause|resume|louder|quieter|send|delete|undo|new line|"
    "call home|hang up|hold the line|press one|press two|transfer me|agent|operator|"
    "my number is|the code is|order number|room|floor|extension|account|customer|"
    "balance|pay|yes please|no thanks|that is right|that is wrong|say it again|"
    "speak slowly|wait|ready|begin|end|finish|save|load|exit|enter|confirm|"
    "computer|alexa|jarvis|smart mirror|view glass|snowboy"
).split("|")
GRID = (
    "bin lay place set".split(),
    "blue green red white".split(),
    "at by in with".split(),
    list(LETTERS.replace("w", "")),
    DIGITS,
    "again now please soon".split(),
)
ACCENTS = (
    "en-us en-us en-us en-gb en-gb-x-rp en-gb-scotland en-gb-x-gbclan "
    "en-gb-x-gbcwmd en-029 en-us-nyc"
).split()
VARIANTS = (
    "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2 klatt3 klatt4 adam Alex "
    "Alicia Andrea Andy Annie antonio aunty belinda benjamin boris caleb david Denis "
    "Diogo ed edward edward2 Gene Gene2 grandma grandpa gustave Henrique Hugo iven "
    "iven2 iven3 iven4 Jacky john kaukovalta Lee linda marcelo Marco Mario max "
    "Michael michel miguel Mike Nguyen norbert pablo paul pedro quincy rob robert "
    "sandro shelby steph steph2 steph3 travis victor zac anika croak"
).split()
# Voices of other languages that speak English phonemes with their own sounds: on
# digits, a model that never heard them understood each at least six times in ten.
FOREIGN = (
    "de de fr-fr es it ru nl sv pt-br da fi cs ro el tr hi bn id vi nb uk"
).split()
# English sounds that many of them lack, and would leave out.
NEAREST = (("aI", "ai"), ("eI", "ei"), ("oU", "ou"), ("I", "i"), ("V", "a"))
FLITE_VOICES = "slt slt rms rms awb awb kal16 kal".split()


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words to speak; a word of one letter is that letter's name."""

    words: tuple[str, ...]
    pause_after: frozenset[int] = frozenset()

    @property
    def text(self) -> str:
        """The transcript: lower-case words with single spaces."""
        return " ".join(self.words)


@dataclass(frozen=True, slots=True)
class Synthesis:
    """What to make.

    Attributes:
        sentences: text file, one sentence a line, for open English.
        hours: how much speech.
        seed: the same seed makes the same corpus.
        flite_share: part of the utterances that flite speaks, 0 to 1.
        sentence_share: part of them that is read sentences, 0 to 1.
        accent_share: part of espeak-ng's that a voice of another language speaks.
    """

    sentences: Path
    hours: float = 10.0
    seed: int = 7
    flite_share: float = 0.4
    sentence_share: float = 0.18
    accent_share: float = 0.35

    def __post_init__(self) -> None:
        if self.hours <= 0:
            raise ConfigError(f"hours must be above 0, got {self.hours}")
        for name in ("flite_share", "sentence_share", "accent_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be 0 to 1, got {getattr(self, name)}")


def synthesize(
    plan: Synthesis, folder: Path, progress: Callable[[float], None] = lambda _: None
) -> Path:
    """Speak phrases into `folder`; return the path of its manifest.

    Args:
        plan: what to make.
        folder: receives 16 kHz mono FLAC files and `manifest.jsonl`.
        progress: called with the hours done so far.

    Raises:
        ConfigError: a synthesizer is not installed.
    """
    for program in ("espeak-ng", "flite"):
        if shutil.which(program) is None:
            raise ConfigError(f"{program} is not installed (Debian: apt install it)")
    dice = random.Random(plan.seed)
    sentences = plan.sentences.read_text().splitlines()
    phrases = _phrases(dice, sentences, plan.sentence_share)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.jsonl"
    seconds = 0.0
    with manifest.open("w") as rows:
        for number, phrase in enumerate(phrases):
            if seconds >= plan.hours * 3600:
                break
            path = folder / f"{number // 1000:03d}" / f"{number:06d}.flac"
            path.parent.mkdir(exist_ok=True)
            if dice.random() < plan.flite_share:
                voice, duration = _flite(dice, phrase, path)
            else:
                voice, duration = _espeak(dice, phrase, path, plan.accent_share)
            if duration < 0.15:
                continue
            row = {
                "audio": str(path.relative_to(folder)),
                "text": phrase.text,
                "speaker": voice,
                "corpus": "synthetic",
                "duration": round(duration, 3),
                "lang": "en",
            }
            rows.write(json.dumps(row) + "\n")
            seconds += duration
            progress(seconds / 3600)
    return manifest


def _phrases(
    dice: random.Random, sentences: list[str], sentence_share: float
) -> Iterator[Phrase]:
    makers: list[tuple[int, Callable[[], Phrase]]] = [
        (20, lambda: _string(dice, lambda: dice.choice(DIGITS), 10)),
        (10, lambda: _string(dice, lambda: dice.choice(LETTERS), 8)),
        (10, lambda: _string(dice, lambda: dice.choice([*DIGITS, *LETTERS]), 9)),
        (8, lambda: Phrase(tuple(dice.choice(slot) for slot in GRID))),
        (16, lambda: _string(dice, lambda: dice.choice(COMMANDS), 3)),
        (8, lambda: _string(dice, lambda: dice.choice(ORDERS), 2)),
        (10, lambda: Phrase(tuple(_amount(dice)))),
    ]
    weights = [weight for weight, _ in makers]
    while True:
        if dice.random() < sentence_share:
            yield Phrase(tuple(_excerpt(dice, sentences)))
            continue
        ((_, make),) = dice.choices(makers, weights)
        yield make()


def _string(dice: random.Random, draw: Callable[[], str], most: int) -> Phrase:
    items = [draw() for _ in range(dice.randint(1, most))]
    words: list[str] = []
    pauses = set()
    for item in items:
        words.extend(item.split())
        if dice.random() < 0.2:
            pauses.add(len(words) - 1)
    return Phrase(tuple(words), frozenset(pauses))


def _amount(dice: random.Random) -> list[str]:
    match dice.randrange(5):
        case 0:
            return [*_below_hundred(dice), dice.choice(["dollars", "euros", "percent"])]
        case 1:
            hundred = [dice.choice(DIGITS[1:]), "hundred"]
            return [
                *hundred,
                *(["and"] if dice.random() < 0.5 else []),
                *_below_hundred(dice),
            ]
        case 2:
            return [
                dice.choice(DAYS),
                dice.choice(MONTHS),
                "the",
                dice.choice(ORDINALS),
            ]
        case 3:
            minute = dice.choice([["o'clock"], _below_hundred(dice), ["thirty"]])
            return ["at", dice.choice([*DIGITS[1:], *TEENS[:3]]), *minute]
        case _:
            return [dice.choice(DIGITS[1:]), "thousand", *_below_hundred(dice)]


def _below_hundred(dice: random.Random) -> list[str]:
    match dice.randrange(3):
        case 0:
            return [dice.choice(TEENS)]
        case 1:
            return [dice.choice(TENS), dice.choice(DIGITS[1:])]
        case _:
            return [dice.choice([*TENS, *DIGITS[1:]])]


def _excerpt(dice: random.Random, sentences: list[str]) -> list[str]:
    words = dice.choice(sentences).split()
    length = dice.randint(3, 14)
    start = dice.randrange(max(1, len(words) - length + 1))
    # A lone letter would be spoken as its name, an article would not.
    return [w for w in words[start : start + length] if len(w) > 1] or ["nothing"]


def _espeak(
    dice: random.Random, phrase: Phrase, path: Path, accent_share: float
) -> tuple[str, float]:
    # espeak reads a lone "a" as the article: name its vowel instead.
    spoken = [
        ("[[eI]]" if word == "a" else word.upper() if len(word) == 1 else word)
        + ("," if place in phrase.pause_after else "")
        for place, word in enumerate(phrase.words)
    ]
    text, language = " ".join(spoken), dice.choice(ACCENTS)
    if dice.random() < accent_share:
        language = dice.choice(FOREIGN)
        text = _phonemes(dice, text)
    voice = f"{language}+{dice.choice(VARIANTS)}"
    options = ["-s", str(dice.randint(115, 210)), "-p", str(dice.randint(15, 85))]
    options += ["-g", str(dice.choice([0, 0, 1, 3]))]
    wave = path.with_suffix(".wav")
    command = ["espeak-ng", "-v", voice, *options, "-w", str(wave), text]
    subprocess.run(command, check=True, capture_output=True)
    return f"espeak_{voice}", _store(wave, path)


def _phonemes(dice: random.Random, text: str) -> str:
    """What any language's voice can read: English phonemes, or their nearest."""
    said = subprocess.run(
        ["espeak-ng", "-v", "en-us", "-q", "-x", text],
        check=True,
        capture_output=True,
        text=True,
    )
    phonemes = " _: ".join(said.stdout.split("\n")).strip()
    if dice.random() < 0.5:
        for english, other in NEAREST:
            phonemes = phonemes.replace(english, other)
    return f"[[{phonemes}]]"


def _flite(dice: random.Random, phrase: Phrase, path: Path) -> tuple[str, float]:
    voice = dice.choice(FLITE_VOICES)
    spoken = [
        ("ay" if word == "a" else word) + ("," if place in phrase.pause_after else "")
        for place, word in enumerate(phrase.words)
    ]
    stretch = f"duration_stretch={dice.uniform(0.75, 1.3):.2f}"
    shift = f"int_f0_target_mean={dice.randint(85, 230)}"
    wave = path.with_suffix(".wav")
    command = ["flite", "-voice", voice, "--setf", stretch, "--setf", shift]
    command += ["-t", " ".join(spoken), "-o", str(wave)]
    subprocess.run(command, check=True, capture_output=True)
    return f"flite_{voice}", _store(wave, path)


def _store(wave: Path, path: Path) -> float:
    samples, rate = soundfile.read(wave, dtype="float32")
    wave.unlink()
    if rate != 16_000:
        samples = soxr.resample(samples, rate, 16_000)
    soundfile.write(path, samples.clip(-1, 1), 16_000, "PCM_16")
    return len(samples) / 16_000

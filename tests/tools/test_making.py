import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

pytest.importorskip("transformers")

from streaming.cli.demo import RECORDING
from streaming.config import BUNDLED_MODEL
from streaming.errors import ConfigError
from streaming.tools.corpus import read_manifest
from streaming.tools.making import with_made_speech
from streaming.tools.recipe import CorpusShare, Recipe, Snippets
from streaming.tools.snippets import WORDS

DIGITS = tuple("zero one two three four five six seven eight nine".split())


@pytest.fixture
def recipe(tmp_path):
    """One that cuts the digits out of the project's own recording."""
    about = json.loads(RECORDING.with_suffix(".json").read_text())
    samples, rate = soundfile.read(RECORDING, dtype="float32")
    rows = []
    for number, said in enumerate(about["utterances"]):
        start, end = (round(said[key] * rate) for key in ("start", "end"))
        soundfile.write(tmp_path / f"{number}.flac", samples[start:end], rate)
        rows.append({"audio": f"{number}.flac", "text": said["text"], "corpus": "demo"})
    manifest = tmp_path / "all.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    return Recipe(
        (manifest,),
        (CorpusShare("demo", 1.0),),
        snippets=Snippets(("demo",), BUNDLED_MODEL, words=DIGITS, phrase_words=0),
    )


def test_the_bundled_model_cuts_digits_out_of_the_demo(recipe, tmp_path):
    made = with_made_speech(recipe, tmp_path / "run", quiet=True)

    [original, cut] = made.manifests
    said = [w for row in read_manifest(original) for w in row.text.split()]
    rows = read_manifest(cut)
    digits = [word for word in said if word in DIGITS]
    assert digits == [row.text for row in rows]
    assert {WORDS} == {row.corpus for row in rows}
    lengths = [soundfile.info(row.path).duration for row in rows]
    assert 0.2 <= np.median(lengths) <= 0.8  # a digit, not a breath or a sentence


def test_it_is_made_once(recipe, tmp_path):
    first = with_made_speech(recipe, tmp_path / "run", quiet=True)
    before = first.manifests[-1].stat().st_mtime_ns

    again = with_made_speech(recipe, tmp_path / "run", quiet=True)

    assert first == again
    assert before == again.manifests[-1].stat().st_mtime_ns


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"corpora": ("elsewhere",)}, "no utterance of elsewhere"),
        ({"model": RECORDING.parent}, "no checkpoint at"),
    ],
)
def test_what_is_missing_is_named(recipe, tmp_path, change, said):
    wrong = replace(recipe, snippets=replace(recipe.snippets, **change))
    with pytest.raises(ConfigError, match=said):
        with_made_speech(wrong, tmp_path / "run", quiet=True)


def test_another_alphabet_is_refused(recipe, tmp_path):
    with pytest.raises(ConfigError, match="30 labels"):
        with_made_speech(replace(recipe, alphabet="abc"), tmp_path / "run", quiet=True)

"""Training learns, goes on where it stopped, and exports what others load."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from streaming.cli import main  # noqa: E402
from streaming.errors import ConfigError  # noqa: E402
from streaming.models.checkpoint import read_checkpoint  # noqa: E402
from streaming.tools.export import export_checkpoint  # noqa: E402
from streaming.tools.fresh import fresh_model  # noqa: E402
from streaming.tools.recipe import load_recipe  # noqa: E402
from streaming.tools.train import train  # noqa: E402
from streaming.tools.training import Trainer  # noqa: E402

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
PITCHES = {"a": 300, "b": 900, "c": 2_400}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Words spelled in tones: learnable in a minute by anything that learns."""
    folder = tmp_path_factory.mktemp("tones")
    dice = np.random.default_rng(0)
    rows = []
    for number in range(40):
        text = "".join(dice.choice(list(PITCHES), size=dice.integers(1, 4)))
        pieces = [np.zeros(1_600)]
        for letter in text:
            time = np.arange(3_200) / 16_000
            pieces += [np.sin(2 * np.pi * PITCHES[letter] * time), np.zeros(1_600)]
        soundfile.write(folder / f"{number}.flac", 0.3 * np.concatenate(pieces), 16_000)
        rows.append({"audio": f"{number}.flac", "text": text, "corpus": "tones"})
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


RECIPE = """
manifests = ["manifest.jsonl"]
tests = ["manifest.jsonl"]
alphabet = "abc"
[corpora.tones]
weight = 1
hold_out = 8
[shape]
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 64
conv_dim = [32, 32]
conv_kernel = [400, 4]
conv_stride = [160, 2]
num_conv_pos_embeddings = 8
num_conv_pos_embedding_groups = 2
hidden_dropout = 0.0
mask_feature_length = 4
[augmentation]
ramp_steps = [100000, 100001]
[optimisation]
steps = 40
warmup_steps = 10
decay_steps = 10
peak_rate = 4e-3
batch_seconds = [[0, 6.0]]
"""


def rows_of(folder):
    return [json.loads(row) for row in (folder / "log.jsonl").read_text().splitlines()]


def with_steps(corpus, tmp_path, steps):
    text = RECIPE.replace("steps = 40", f"steps = {steps}", 1)
    path = corpus / f"{tmp_path.name}.toml"
    path.write_text(text)
    return path


def test_the_loss_falls_and_the_export_loads(corpus, tmp_path):
    train(with_steps(corpus, tmp_path, 80), tmp_path, quiet=True)

    losses = [row["loss"] for row in rows_of(tmp_path) if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]
    model = transformers.Wav2Vec2ForCTC.from_pretrained(tmp_path / "model")
    assert model.config.conv_stride == [160, 2]
    vocabulary = json.loads((tmp_path / "model" / "vocab.json").read_text())
    assert vocabulary == {"<pad>": 0, "<unk>": 1, "|": 2, "a": 3, "b": 4, "c": 5}
    assert {"step", "tones", "held_out"} == set(rows_of(tmp_path)[-1])
    assert not read_checkpoint(tmp_path / "model").streaming


def test_it_learns_for_streams_too_and_says_so(corpus, tmp_path):
    path = with_steps(corpus, tmp_path, 20)
    table = '[streaming]\nchunk_steps = [4, 16]\ntests = ["held_out"]\n'
    path.write_text(path.read_text() + table)
    train(path, tmp_path, quiet=True)
    path.write_text(path.read_text().replace("steps = 20", "steps = 80", 1))
    train(path, tmp_path, quiet=True)

    rows = rows_of(tmp_path)
    losses = [row["loss"] for row in rows if "loss" in row]
    assert [20, 40, 60, 80] == [row["step"] for row in rows if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]
    assert {"step", "tones", "held_out", "held_out@chunk"} == set(rows[-1])
    served = export_checkpoint(
        tmp_path / "model", tmp_path / "served", name="tones", language="en", int8=False
    )
    assert served.streaming


def test_the_flag_turns_streaming_on_where_the_recipe_says_nothing(corpus, tmp_path):
    train(with_steps(corpus, tmp_path, 2), tmp_path, streaming=True, quiet=True)

    names = set(rows_of(tmp_path)[-1])
    assert {"tones@chunk", "held_out@chunk"} <= names


@pytest.mark.parametrize("flags", [[], ["--streaming"]])
def test_the_command_passes_the_flag_on(corpus, monkeypatch, flags):
    told = {}
    monkeypatch.setattr(
        "streaming.tools.train.train", lambda *_, **how: told.update(how)
    )

    assert 0 == main(["train", str(corpus / "recipe.toml"), *flags])
    assert bool(flags) is told["streaming"]


def test_a_test_corpus_that_is_not_there_is_named(corpus, tmp_path):
    path = corpus / "misnamed.toml"
    path.write_text(RECIPE + '[streaming]\ntests = ["tunes"]\n')

    with pytest.raises(ConfigError, match="tunes; there are tones, held_out"):
        train(path, tmp_path, quiet=True)


def test_a_checkpoint_that_mixes_chunks_is_refused(tmp_path):
    config = transformers.Wav2Vec2Config(add_adapter=True, **SMALL)
    transformers.Wav2Vec2ForCTC(config).save_pretrained(tmp_path / "start")
    path = tmp_path / "recipe.toml"
    path.write_text(f'start = "start"\n{RECIPE}[streaming]\n')

    with pytest.raises(ConfigError, match="start: its adapter convolves across"):
        Trainer(load_recipe(path), tmp_path)


def test_a_stopped_run_goes_on_where_it_was(corpus, tmp_path):
    train(with_steps(corpus, tmp_path, 20), tmp_path, quiet=True)
    first = torch.load(tmp_path / "last.pt", weights_only=True)
    train(with_steps(corpus, tmp_path, 40), tmp_path, quiet=True)
    second = torch.load(tmp_path / "last.pt", weights_only=True)

    assert first["step"] == 20
    assert second["step"] == 40
    assert second["seconds"] > first["seconds"]
    steps = [row["step"] for row in rows_of(tmp_path) if "loss" in row]
    assert steps == [20, 40]


def test_two_workers_share_one_model(corpus, tmp_path):
    train(with_steps(corpus, tmp_path, 20), tmp_path, workers=2, quiet=True)

    (row,) = [row for row in rows_of(tmp_path) if "loss" in row]
    assert row["step"] == 20
    assert np.isfinite(row["loss"])


def test_the_first_filters_cover_the_band_of_speech(corpus):
    model = fresh_model(load_recipe(corpus / "recipe.toml"))
    filters = model.wav2vec2.feature_extractor.conv_layers[0].conv.weight[:, 0]
    peaks = torch.fft.rfft(filters.detach()).abs().argmax(-1) * 16_000 / 400

    assert peaks.min() < 200
    assert peaks.max() > 6_000


def test_a_recipe_without_its_corpora_is_refused(corpus, tmp_path):
    path = corpus / "other.toml"
    path.write_text(RECIPE.replace("corpora.tones", "corpora.words"))

    with pytest.raises(ConfigError, match="words"):
        train(path, tmp_path, quiet=True)

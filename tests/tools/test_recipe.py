"""Recipes are read whole or refused by name."""

from __future__ import annotations

import math

import pytest

from streaming.errors import ConfigError
from streaming.tools.recipe import Augmentation, Optimisation, Streaming, load_recipe
from tests.conftest import ROOT

RECIPE = """
manifests = ["train.jsonl"]
noise = "noise.jsonl"
[corpora.digits]
weight = 2
speed = [0.9, 1.1]
[optimisation]
steps = 10
batch_seconds = [[0, 5.0], [4, 9.0]]
"""


def write(folder, text):
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_paths_count_from_the_recipes_folder(tmp_path):
    recipe = load_recipe(write(tmp_path, RECIPE))

    assert recipe.manifests == (tmp_path / "train.jsonl",)
    assert recipe.noise == tmp_path / "noise.jsonl"
    assert recipe.corpora[0].name == "digits"
    assert recipe.corpora[0].speed == (0.9, 1.1)
    assert recipe.optimisation.seconds_at(3) == 5.0
    assert recipe.optimisation.seconds_at(4) == 9.0


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (RECIPE + "[shape]\nhiden_size = 1\n", "hiden_size"),
        (RECIPE.replace("weight = 2", "weight = -1"), "weight"),
        (RECIPE.replace("[0.9, 1.1]", "[1.1, 0.9]"), "speed"),
        (RECIPE.replace('manifests = ["train.jsonl"]\n', ""), "manifests"),
        ("manifests = [", "recipe.toml"),
        (RECIPE + "[streaming]\nchunks = 1\n", "Streaming: unknown chunks"),
        (RECIPE + "[streaming]\nfull_chance = 1.1\n", "full_chance .* got 1.1"),
        (RECIPE + "[streaming]\nunlimited_chance = -1\n", "unlimited_chance"),
        (RECIPE + "[streaming]\nchunk_steps = [0, 8]\n", "chunk_steps .* from 1"),
        (RECIPE + "[streaming]\nleft_steps = [9, 8]\n", "left_steps"),
        (RECIPE + "[streaming]\nleft_steps = [8]\n", "left_steps"),
        (RECIPE + "[streaming]\nchunk_steps = [0.5, 8]\n", "chunk_steps"),
        (RECIPE + "[streaming]\nchunk_steps = 8\n", "chunk_steps"),
        (RECIPE + "[streaming]\ntest_chunk_steps = 0\n", "test_chunk_steps"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, named):
    with pytest.raises(ConfigError, match=named):
        load_recipe(write(tmp_path, text))


def test_streaming_is_off_without_its_table(tmp_path):
    assert load_recipe(write(tmp_path, RECIPE)).streaming is None
    table = '[streaming]\nchunk_steps = [4, 32]\ntests = ["digits"]\n'
    streaming = load_recipe(write(tmp_path, RECIPE + table)).streaming

    assert Streaming(chunk_steps=(4, 32), tests=("digits",)) == streaming
    assert 0.4 == streaming.full_chance


@pytest.mark.parametrize("name", ["bundled", "bundled_streaming"])
def test_the_bundled_models_recipes_are_read(name):
    path = ROOT / "streaming" / "tools" / "recipes" / f"{name}.toml"
    recipe = load_recipe(path)

    assert math.prod(recipe.shape.conv_stride) == 320
    assert {"fsdd", "grid_s1", "synthetic"} <= {c.name for c in recipe.corpora}


def test_the_rate_rises_holds_and_falls():
    plan = Optimisation(steps=100, warmup_steps=10, decay_steps=20, peak_rate=1.0)

    assert plan.rate_at(0) == pytest.approx(0.1)
    assert plan.rate_at(50) == 1.0
    assert plan.rate_at(90) == pytest.approx(0.5)
    assert plan.rate_at(99) == pytest.approx(0.05)


def test_distortions_ramp_up():
    plan = Augmentation(ramp_steps=(10, 20))

    assert [plan.strength_at(step) for step in (0, 10, 15, 20, 99)] == [
        0,
        0,
        0.5,
        1,
        1,
    ]

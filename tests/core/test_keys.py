"""Keys: kept as salted hashes, found whole or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.core.keys import Key, find_key, hash_key, parse_keys
from streaming.errors import ConfigError


def kept(name, text, salt="00112233445566778899aabbccddeeff", **limits):
    return Key(name, salt, hash_key(text, salt), **limits)


texts = st.text(min_size=1, max_size=80)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
limits = st.integers(0, 1_000_000)
salts = st.binary(min_size=8, max_size=32).map(bytes.hex)
made = st.builds(
    lambda name, text, salt, streams, minutes: kept(
        name, text, salt, streams=streams, minutes_a_day=minutes
    ),
    names,
    texts,
    salts,
    limits,
    limits,
)


@given(st.lists(made, unique_by=lambda key: key.name))
def test_what_is_written_is_read_again(keys):
    lines = ["# keys", "", *(key.line for key in keys)]

    assert tuple(keys) == parse_keys(lines, "keys")


@given(st.lists(texts, unique=True, min_size=1, max_size=5), st.data())
def test_each_key_is_found_by_its_own_text_only(said, data):
    keys = [kept(f"k{n}", text, f"{n:032x}") for n, text in enumerate(said)]
    chosen = data.draw(st.integers(0, len(said) - 1))
    other = data.draw(texts.filter(lambda text: text not in said))

    assert keys[chosen] == find_key(keys, said[chosen])
    assert find_key(keys, other) is None


def test_the_line_tells_nothing_of_the_key():
    line = kept("desk", "wsk_secret", streams=4, minutes_a_day=600).line

    assert "secret" not in line
    assert line.startswith("desk sha256:00112233445566778899aabbccddeeff:")
    assert line.endswith(" streams=4 minutes_a_day=600")


def test_equal_keys_with_other_salts_have_other_hashes():
    assert kept("a", "k", "00" * 16).digest != kept("a", "k", "01" * 16).digest


def test_a_text_too_long_to_be_a_key_is_not_even_hashed():
    assert find_key([kept("a", "x" * 2_000)], "x" * 2_000) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("desk", "keys, key 1: 'desk' has no hash like sha256:SALT:HASH"),
        ("desk wsk_abc", "'desk' has no hash like sha256:SALT:HASH: make lines with"),
        ("desk sha256:0:1", "has no hash"),
        (f"desk sha256:{'0' * 17}:{'0' * 64}", "has no hash"),
        (f"-x sha256:{'0' * 16}:{'0' * 64}", "begins with a letter or a digit"),
        (f"a sha256:{'0' * 16}:{'0' * 64} x=1", "streams=N and minutes_a_day=N"),
        (f"a sha256:{'0' * 16}:{'0' * 64} streams=-1", "got 'streams=-1'"),
        (f"a sha256:{'0' * 16}:{'0' * 64} streams=1000001", "0 to 1000000"),
    ],
)
def test_a_line_that_is_no_key_is_refused_by_its_number(line, words):
    with pytest.raises(ConfigError) as caught:
        parse_keys([line], "keys")

    assert words in str(caught.value)
    assert "wsk_abc" not in str(caught.value)


def test_a_name_may_stand_there_once():
    with pytest.raises(ConfigError, match="key 2: a stands there twice"):
        parse_keys([kept("a", "x").line, kept("a", "y").line], "keys")

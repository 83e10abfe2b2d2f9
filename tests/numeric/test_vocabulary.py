"""Checkpoints' own files become labels; broken ones are named."""

from __future__ import annotations

import json

import pytest

from streaming.errors import ModelError
from streaming.numeric.vocabulary import Vocabulary

PLAIN = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "a": 5, "b": 6, "'": 7}


def write(folder, **files):
    """`vocab={...}` becomes vocab.json."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return folder


def spell(vocabulary, text):
    """Label numbers of a text, `|` for the border."""
    return [vocabulary.labels.index(letter) for letter in text]


def test_a_bare_vocabulary_has_the_usual_names(tmp_path):
    vocabulary = Vocabulary.from_files(write(tmp_path, vocab=PLAIN))

    assert vocabulary.blank == 0
    assert vocabulary.border == 4
    assert {0, 1, 2, 3} == vocabulary.special
    assert len(vocabulary) == 8
    assert vocabulary.text([4, 5, 0, 6, 4, 4, 7, 3, 5, 4]) == "ab 'a"


def test_capitals_stay_unless_the_tokenizer_lowers_them(tmp_path):
    vocab = {"<pad>": 0, "<unk>": 1, "|": 2, "H": 3, "I": 4}
    write(tmp_path, vocab=vocab, tokenizer_config={"do_lower_case": False})
    assert Vocabulary.from_files(tmp_path).text([3, 4]) == "HI"

    write(tmp_path, tokenizer_config={"do_lower_case": True})
    assert Vocabulary.from_files(tmp_path).text([3, 4]) == "hi"


def test_the_tokenizer_names_pad_border_and_specials(tmp_path):
    write(
        tmp_path,
        vocab={"a": 0, "b": 1, "_": 2, "[UNK]": 3, "[PAD]": 4, "#": 5},
        tokenizer_config={
            "pad_token": {"content": "[PAD]", "special": True},
            "unk_token": "[UNK]",
            "word_delimiter_token": "_",
            "additional_special_tokens": ["#", "_"],  # a border is no special
        },
        special_tokens_map={"pad_token": "a"},  # the tokenizer's word goes first
    )

    vocabulary = Vocabulary.from_files(tmp_path)

    assert vocabulary.blank == 4
    assert vocabulary.border == 2
    assert {3, 4, 5} == vocabulary.special
    assert vocabulary.text([0, 3, 2, 1, 5]) == "a b"


def test_the_specials_may_stand_in_their_own_file(tmp_path):
    write(
        tmp_path,
        vocab={"_blank": 0, "?": 1, " ": 2, "a": 3},
        special_tokens_map={"pad_token": "_blank", "unk_token": {"content": "?"}},
    )

    vocabulary = Vocabulary.from_files(tmp_path)

    assert vocabulary.blank == 0
    assert vocabulary.border == 2
    assert vocabulary.text([3, 1, 2, 3]) == "a a"


def test_a_polish_fine_tune_with_tokens_put_beside_it(tmp_path):
    letters = "aąbcćdeęłńóśźż"
    vocab = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4}
    vocab |= {letter: 5 + i for i, letter in enumerate(letters)}
    count = len(vocab)
    write(
        tmp_path,
        vocab=vocab,
        config={"vocab_size": count, "pad_token_id": 0},
        added_tokens={"<extra>": count, "<s>": count + 1, "wrong": 4},
        special_tokens_map={"additional_special_tokens": [{"content": "<extra>"}]},
    )

    vocabulary = Vocabulary.from_files(tmp_path)

    assert vocabulary.text(spell(vocabulary, "|łąć|żó")) == "łąć żó"
    assert vocabulary.border == 4  # the vocabulary wins over tokens beside it
    assert not vocabulary.shows(count)


def test_mms_has_a_vocabulary_for_each_language(tmp_path):
    write(
        tmp_path,
        vocab={
            "eng": {"<pad>": 0, "<unk>": 3, "|": 4, "a": 5},
            "rus": {"<pad>": 0, "<unk>": 3, "|": 4, "ж": 6, "я": 5},
        },
        tokenizer_config={"target_lang": "eng", "pad_token": "<pad>"},
        config={"vocab_size": 20},  # of another language's head
    )

    assert Vocabulary.from_files(tmp_path).text([5]) == "a"
    assert len(Vocabulary.from_files(tmp_path)) == 6
    assert Vocabulary.from_files(tmp_path, "rus").text([5, 4, 6]) == "я ж"
    with pytest.raises(ModelError, match=r"2 languages, none of them 'ru'; near it"):
        Vocabulary.from_files(tmp_path, "ru")


def test_gaps_and_columns_past_the_table_are_silent(tmp_path):
    write(
        tmp_path,
        vocab={"<pad>": 0, "|": 1, "a": 5},
        config={"vocab_size": 9},
    )

    vocabulary = Vocabulary.from_files(tmp_path)

    assert len(vocabulary) == 9
    assert vocabulary.text([2, 5, 3, 8, 5, 11]) == "aa"


def test_without_a_border_every_label_is_a_word(tmp_path):
    write(tmp_path, vocab={"<pad>": 0, "你": 1, "好": 2})
    vocabulary = Vocabulary.from_files(tmp_path)
    assert vocabulary.border is None
    assert vocabulary.text([1, 2]) == "你好"

    write(
        tmp_path,
        vocab={"<pad>": 0, "tʃ": 1, "i": 2},
        tokenizer_config={
            "tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer",
            "word_delimiter_token": None,
        },
    )
    assert Vocabulary.from_files(tmp_path).text([1, 2]) == "tʃ i"


def test_the_border_may_show_nothing(tmp_path):
    write(tmp_path, vocab=PLAIN, tokenizer_config={"replace_word_delimiter_char": ""})

    assert Vocabulary.from_files(tmp_path).text([5, 4, 6]) == "ab"


def test_a_white_label_beside_the_border_divides_too():
    vocabulary = Vocabulary(("", "|", " ", "a"), blank=0, border=1)

    assert vocabulary.divides(2)
    assert vocabulary.text([3, 2, 3, 1, 2, 3]) == "a a a"


def test_the_blank_may_be_the_configs(tmp_path):
    write(tmp_path, vocab={"a": 0, "ε": 1}, config={"pad_token_id": 1})

    assert Vocabulary.from_files(tmp_path).blank == 1


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"vocab\.json is missing"),
        ({"vocab": "{"}, r"vocab\.json cannot be read as JSON"),
        ({"vocab": []}, r"vocab\.json must be a JSON object, got a list"),
        ({"vocab": {}}, r"vocab\.json holds no labels"),
        ({"vocab": {"en": {}}}, r"vocab\.json holds no labels"),
        ({"vocab": {"<pad>": 0, "a": "1"}}, r"vocab\.json: the label 'a' .* got '1'"),
        ({"vocab": {"<pad>": 0, "a": True}}, r"'a' must have a whole .* got True"),
        ({"vocab": {"<pad>": 0, "a": -1}}, r"'a' must be numbered 0 to .*, got -1"),
        ({"vocab": {"<pad>": 0, "a": 1 << 40}}, r"'a' must be numbered 0 to"),
        ({"vocab": {"<pad>": 0, "a": 0}}, r"'<pad>' and 'a' are both label 0"),
        (
            {"vocab": {"a": 0, "b": 1}},
            r"vocab\.json has no blank: .*'<pad>', '\[PAD\]'",
        ),
        (
            {"vocab": PLAIN, "tokenizer_config": "nonsense"},
            r"tokenizer_config\.json cannot be read as JSON",
        ),
        (
            {"vocab": {"a": 0, "<pad>": 7}, "config": {"vocab_size": 5}},
            r"config\.json: vocab_size is 5, but the blank is label 7",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, files, message):
    with pytest.raises(ModelError, match=message):
        Vocabulary.from_files(write(tmp_path, **files))


@pytest.mark.parametrize(("blank", "border"), [(3, None), (-1, 0), (0, 5), (1, 1)])
def test_blank_and_border_must_be_labels(blank, border):
    with pytest.raises(ModelError, match=f"{border if blank in (0, 1) else blank}"):
        Vocabulary(("a", "b", "c"), blank, border)


def test_it_reads_as_the_tokenizer_of_transformers_does(tmp_path):
    tokenizers = pytest.importorskip("transformers.models.wav2vec2")
    write(tmp_path, vocab=PLAIN)
    theirs = tokenizers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"))
    theirs.save_pretrained(tmp_path)
    ours = Vocabulary.from_files(tmp_path)

    path = [0, 5, 5, 0, 5, 4, 4, 6, 7, 0, 0, 6, 4]
    collapsed = [5, 5, 4, 6, 7, 6, 4]

    assert theirs.decode(path) == ours.text(collapsed)
    assert theirs.pad_token_id == ours.blank
    assert theirs.word_delimiter_token_id == ours.border

"""What the columns of the logits mean, read from a checkpoint's own JSON files.

Covers the character CTC heads of the wav2vec2 family: wav2vec2, XLSR, MMS (a
vocabulary for each language) and w2v-BERT 2.0. Knows which label is the blank,
which ends a word and which show nothing. Does not know rows, runs or times.
"""

from __future__ import annotations

import difflib
import json
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streaming.errors import ModelError

__all__ = ["Vocabulary"]

_VOCAB = "vocab.json"
_TOKENIZER = "tokenizer_config.json"
_SPECIALS = "special_tokens_map.json"
_ADDED = "added_tokens.json"
_CONFIG = "config.json"

# A larger id than any CTC vocabulary has is a broken file, not a table to fill.
_MOST_LABELS = 1 << 20

# Silent where the files name no special tokens of their own.
_SPECIAL_KEYS = ("pad_token", "bos_token", "eos_token", "unk_token", "mask_token")
_USUAL_BLANKS = ("<pad>", "[PAD]")
_USUAL_SPECIALS = ("<s>", "</s>", "<unk>", "[UNK]", *_USUAL_BLANKS)

# Its labels are phonemes, each written apart from the next.
_PHONEME_TOKENIZER = "Wav2Vec2PhonemeCTCTokenizer"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The labels of a CTC head.

    Without a border (scripts that write no spaces, phonemes) every label is a
    word of its own.

    Attributes:
        labels: the text of each label, `""` where an id is unused.
        blank: the label that CTC drops.
        border: the label between words, None where the checkpoint has none.
        special: labels that show nothing: the blank, sentence marks, `<unk>`
            and gaps. Showing `<unk>` as a mark would put into a transcript what
            nobody said, so it is silent, as it is for most users of a checkpoint.
        space: what stands between two words in the text.
    """

    labels: tuple[str, ...]
    blank: int
    border: int | None = None
    special: frozenset[int] = frozenset()
    space: str = " "

    def __post_init__(self) -> None:
        for name, label in (("blank", self.blank), ("border", self.border)):
            if label is not None and not 0 <= label < len(self.labels):
                raise ModelError(
                    f"the {name} must be one of {len(self.labels)} labels, got {label}"
                )
        if self.blank == self.border:
            raise ModelError(f"blank and border are the same label, {self.blank}")

    def __len__(self) -> int:
        return len(self.labels)

    def shows(self, label: int) -> bool:
        """Whether a label adds to a word's text; one past the table does not."""
        return (
            0 <= label < len(self.labels)
            and label != self.blank
            and label not in self.special
            and not self.divides(label)
            and self.labels[label] != ""
        )

    def divides(self, label: int) -> bool:
        """Whether a label ends a word: the border, or one that is only white space."""
        if label == self.border:
            return True
        return (
            0 <= label < len(self.labels)
            and label != self.blank
            and label not in self.special
            and self.labels[label].isspace()
        )

    def text(self, labels: Sequence[int]) -> str:
        """The words of collapsed labels, in the checkpoint's case.

        Args:
            labels: label numbers, repeats already merged; blanks may be left in.

        Returns:
            Words with one `space` between them and none around.
        """
        words = [""]
        for label in labels:
            if self.divides(label):
                words.append("")
            elif self.shows(label):
                words[-1] += self.labels[label]
                if self.border is None:
                    words.append("")
        return self.space.join(word for word in words if word)

    @classmethod
    def from_files(cls, folder: Path, language: str | None = None) -> Vocabulary:
        """Read the vocabulary of a checkpoint folder.

        The case is the checkpoint's (`facebook/wav2vec2-base-960h` writes
        capitals) unless its tokenizer says `do_lower_case`, which then lowers
        each label by itself.

        Args:
            folder: holds `vocab.json`; `tokenizer_config.json`,
                `special_tokens_map.json`, `added_tokens.json` and `config.json`
                are used where they are.
            language: which of the vocabularies of a multilingual `vocab.json`
                (MMS: ISO 639-3, as `eng`); None takes the tokenizer's
                `target_lang`. Means nothing to a checkpoint of one vocabulary.

        Raises:
            ModelError: a file is missing or broken; the message names it.
        """
        return _read(Path(folder), language)


def _read(folder: Path, language: str | None) -> Vocabulary:
    tokenizer = _object(folder / _TOKENIZER)
    nested, ids = _ids(folder / _VOCAB, language, tokenizer.get("target_lang"))
    added = _added(folder, tokenizer)
    taken = set(ids.values())  # the vocabulary wins over tokens put beside it
    for token, label in added.items():
        if label not in taken:
            ids.setdefault(token, label)

    specials = _special_names(tokenizer, _object(folder / _SPECIALS))
    config = _object(folder / _CONFIG)
    blank = _blank(folder, ids, specials.get("pad_token"), config)
    border = _border(ids, tokenizer, blank)

    columns = config.get("vocab_size")
    count = max(ids.values()) + 1
    # The head of a multilingual checkpoint changes with its language.
    if isinstance(columns, int) and not nested:
        if blank >= columns:
            raise ModelError(
                f"{folder / _CONFIG}: vocab_size is {columns}, "
                f"but the blank is label {blank}"
            )
        count = max(count, min(columns, _MOST_LABELS))

    texts = [""] * count
    lower = bool(tokenizer.get("do_lower_case", False))
    for token, label in ids.items():
        texts[label] = token.lower() if lower else token
    silent = {ids[name] for name in specials.values() if name in ids}
    silent |= {ids[name] for name in _USUAL_SPECIALS if name in ids}
    silent |= {label for label, text in enumerate(texts) if not text}
    silent.add(blank)
    return Vocabulary(
        labels=tuple(texts),
        blank=blank,
        border=border,
        special=frozenset(silent - {border}),
        space=_space(tokenizer, border),
    )


def _object(path: Path, *, needed: bool = False) -> dict[str, Any]:
    """A JSON object; `{}` for an absent file that is not needed."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if needed:
            raise ModelError(
                f"{path} is missing: it must map each label's text to its number"
            ) from None
        return {}
    except (OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise ModelError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} must be a JSON object, got a {type(found).__name__}")
    return found


def _ids(
    path: Path, language: str | None, default: object
) -> tuple[bool, dict[str, int]]:
    """Whether there is one vocabulary a language, and the numbers of the chosen."""
    vocab = _object(path, needed=True)
    if not vocab:
        raise ModelError(f"{path} holds no labels")
    nested = all(isinstance(entry, dict) for entry in vocab.values())
    if not nested:
        return False, _numbers(path, vocab)
    wanted = language if language is not None else default
    if wanted is None and len(vocab) == 1:
        wanted = next(iter(vocab))
    if not isinstance(wanted, str) or wanted not in vocab:
        near = difflib.get_close_matches(str(wanted), vocab, 5) or sorted(vocab)[:5]
        raise ModelError(
            f"{path} has vocabularies for {len(vocab)} languages, none of them "
            f"{wanted!r}; near it: {', '.join(near)}"
        )
    return True, _numbers(path, vocab[wanted])


def _numbers(path: Path, vocab: Mapping[str, Any]) -> dict[str, int]:
    """The same, checked: every number a label of its own."""
    if not vocab:
        raise ModelError(f"{path} holds no labels")
    owners: dict[int, str] = {}
    for token, label in vocab.items():
        if isinstance(label, bool) or not isinstance(label, int):
            raise ModelError(
                f"{path}: the label {token!r} must have a whole number, "
                f"got {reprlib.repr(label)}"
            )
        if not 0 <= label < _MOST_LABELS:
            raise ModelError(
                f"{path}: the label {token!r} must be numbered 0 to "
                f"{_MOST_LABELS - 1}, got {label}"
            )
        if label in owners:
            raise ModelError(
                f"{path}: {owners[label]!r} and {token!r} are both label {label}"
            )
        owners[label] = token
    return {token: label for label, token in owners.items()}


def _added(folder: Path, tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """Tokens put beside the vocabulary, mostly `<s>` and `</s>`."""
    path = folder / _ADDED
    tokens = _object(path)
    added = _numbers(path, tokens) if tokens else {}
    table = tokenizer.get("added_tokens_decoder")
    if isinstance(table, dict):
        for label, entry in table.items():
            token = _name(entry)
            if token is not None and label.isdecimal() and int(label) < _MOST_LABELS:
                added.setdefault(token, int(label))
    return added


def _special_names(*files: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens by key, the first file to name one winning."""
    names: dict[str, str] = {}
    for file in files:
        for key in _SPECIAL_KEYS:
            name = _name(file.get(key))
            if name is not None:
                names.setdefault(key, name)
        others = file.get("additional_special_tokens")
        for name in map(_name, others if isinstance(others, list) else ()):
            if name is not None:
                names.setdefault(f"additional {name}", name)
    return names


def _name(entry: object) -> str | None:
    """A token, written as text or as an object with its `content`."""
    if isinstance(entry, dict):
        entry = entry.get("content")
    return entry if isinstance(entry, str) and entry else None


def _first(ids: Mapping[str, int], names: Iterable[str | None]) -> int | None:
    return next((ids[name] for name in names if name is not None and name in ids), None)


def _blank(
    folder: Path,
    ids: Mapping[str, int],
    named: str | None,
    config: Mapping[str, Any],
) -> int:
    blank = _first(ids, (named, *_USUAL_BLANKS))
    if blank is not None:
        return blank
    spare = config.get("pad_token_id")
    if isinstance(spare, int) and spare in ids.values():
        return spare
    raise ModelError(
        f"{folder / _VOCAB} has no blank: looked for "
        f"{', '.join(repr(n) for n in dict.fromkeys((named, *_USUAL_BLANKS)) if n)} "
        f"among {len(ids)} labels, and for pad_token_id in {_CONFIG}"
    )


def _border(
    ids: Mapping[str, int], tokenizer: Mapping[str, Any], blank: int
) -> int | None:
    named = _name(tokenizer.get("word_delimiter_token"))
    border = _first(ids, (named, "|", " "))
    return None if border == blank else border


def _space(tokenizer: Mapping[str, Any], border: int | None) -> str:
    if border is None:
        return " " if tokenizer.get("tokenizer_class") == _PHONEME_TOKENIZER else ""
    space = tokenizer.get("replace_word_delimiter_char", " ")
    return space if isinstance(space, str) else " "

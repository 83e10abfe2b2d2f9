"""Windows of one utterance become one text, whatever way they were cut."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.core.decoder import BlankRun, Decoded, Decoder, Hypothesis
from streaming.core.windows import Windower, WindowShape
from streaming.errors import ModelError
from streaming.events import Job, Logits, Pass, Window
from streaming.numeric.ctc import Collapse, best_path
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary

GEOMETRY = Geometry()
STRIDE = GEOMETRY.stride
BORDERED = Vocabulary(("", "|", "a", "b", "?"), 0, 1, frozenset({0, 4}))
BORDERLESS = replace(BORDERED, border=None, special=frozenset({0, 1, 4}), space="")
VOCABULARIES = st.sampled_from([BORDERED, BORDERLESS])
ALPHABET = {".": 0, "|": 1, "a": 2, "b": 3, "?": 4}


def rows_of(path, height=5.0):
    """Logits whose best labels spell a path such as `aa.b|`, `.` for the blank."""
    rows = np.zeros((len(path), 5), np.float32)
    rows[np.arange(len(path)), [ALPHABET[letter] for letter in path]] = height
    return rows


def logits(rows, start, left, hop, right, *, last=False):
    """Lengths in samples."""
    samples = np.zeros(left + hop + right, np.float32)
    window = Window(samples, start, left, hop, right, last)
    return Logits(Job(1, 0, window, Pass.STITCHED, 0.0), rows)


def fresh(vocabulary=BORDERED, *, start=0, temperature=1.0, blank_run=None):
    return Decoder(
        vocabulary,
        GEOMETRY,
        start=start,
        temperature=temperature,
        blank_run=blank_run,
    )


def feed(decoder, *windows, last=True):
    """Each window is its hop's path, or that and its right context's."""
    start = 0
    hypotheses = []
    for i, window in enumerate(windows):
        hop, right = (window, "") if isinstance(window, str) else window
        decoder.accept(
            logits(
                rows_of(hop + right),
                start,
                0,
                len(hop) * STRIDE,
                len(right) * STRIDE,
                last=last and i == len(windows) - 1,
            )
        )
        start += len(hop) * STRIDE
        hypotheses.append(decoder.hypothesis)
    return hypotheses


blank_runs = st.integers(1, 6).flatmap(
    lambda steps: st.builds(BlankRun, st.just(steps), st.integers(1, steps))
)


@st.composite
def utterances(draw, sure=False):
    """Rows and their windows: (rows, length, [Logits]) with lengths in samples.

    The rows of contexts are drawn anew in each window, as a model's would be,
    unless it is sure of its right context.
    """
    steps = draw(st.integers(0, 40))
    short = draw(st.integers(0, STRIDE - 1)) if steps else 0
    length = steps * STRIDE - short
    # Flat within runs, so that words and blank runs come about.
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    stay = draw(st.sampled_from([0.0, 0.5, 0.9]))

    def noise(count):
        rows = random.normal(size=(count, 5)).astype(np.float32)
        for i in range(1, count):
            if random.random() < stay:
                rows[i] = rows[i - 1]
        return rows

    rows = noise(steps)
    cuts = draw(st.lists(st.integers(1, max(steps, 1)), max_size=6))
    edges = sorted({min(cut, steps) for cut in cuts} | {0, steps})
    if not short and draw(st.booleans()):
        edges.append(steps)  # an empty hop that only says: last
    windows = []
    for at, to in pairwise(edges):
        last = len(windows) == len(edges) - 2
        left = draw(st.integers(0, at))
        right = 0 if last else draw(st.integers(0, steps - to))
        end = length if last else to * STRIDE
        ahead = rows[to : to + right] if sure else noise(right)
        held = np.concatenate((noise(left), rows[at:to], ahead))
        windows.append(
            logits(
                held,
                at * STRIDE,
                left * STRIDE,
                end - at * STRIDE,
                right * STRIDE,
                last=last,
            )
        )
    return rows, length, windows


def one_pass(vocabulary, rows, temperature=1.0):
    whole = Collapse(vocabulary)
    whole.push(best_path(rows, temperature))
    whole.close()
    return whole.words


@given(utterances(), VOCABULARIES)
def test_stitched_is_one_collapse_over_all_rows(utterance, vocabulary):
    rows, length, windows = utterance
    decoder = fresh(vocabulary, temperature=1.7)
    for window in windows:
        decoder.accept(window)

    stitched = decoder.stitched(length)

    expected = one_pass(vocabulary, rows, 1.7)
    assert stitched.text == vocabulary.space.join(w.text for w in expected)
    assert [w.confidence for w in stitched.words] == [w.confidence for w in expected]
    assert stitched == decoder.full(rows, length)


@given(utterances(), VOCABULARIES, st.none() | blank_runs)
def test_the_stable_prefix_holds(utterance, vocabulary, blank_run):
    _, length, windows = utterance
    decoder = fresh(vocabulary, blank_run=blank_run)
    texts = []
    for window in windows:
        decoder.accept(window)
        texts.append(decoder.hypothesis)
    final = decoder.stitched(length)

    texts.append(Hypothesis(final.text, texts[-1].stable if texts else 0))
    for i, shown in enumerate(texts):
        prefix = shown.text[: shown.stable]
        assert len(prefix) == shown.stable
        for later in texts[i:]:
            assert later.stable >= shown.stable
            assert later.text.startswith(prefix)
            rest = later.text[shown.stable :]
            assert not prefix or not rest or rest.startswith(vocabulary.space)
    assert decoder.hypothesis.text == final.text  # the last window leaves no tail


def cut_of(rows, rule):
    """Steps up to the cut that these rows call for, by the definition."""
    silent = [not BORDERED.shows(label) for label in rows.argmax(axis=1).tolist()]
    for step in range(1, len(rows) - rule.steps + 1):
        if not silent[step - 1] and all(silent[step : step + rule.steps]):
            return step + rule.kept
    return None


@given(utterances(sure=True), blank_runs)
def test_the_cut_follows_from_the_rows_alone(utterance, rule):
    rows, length, windows = utterance
    cut = cut_of(rows, rule)

    decoder = fresh(blank_run=rule)
    for window in windows:
        decoder.accept(window)

    assert decoder.cut == (cut and cut * STRIDE)
    kept = one_pass(BORDERED, rows[:cut])
    assert decoder.stitched(decoder.cut or length).text == " ".join(
        word.text for word in kept
    )


@given(utterances(), blank_runs)
def test_a_change_of_mind_moves_no_cut_and_loses_no_text(utterance, rule):
    rows, _, windows = utterance
    silent = [not BORDERED.shows(label) for label in rows.argmax(axis=1).tolist()]

    decoder = fresh(blank_run=rule)
    for window in windows:
        decoder.accept(window)
        if decoder.cut is not None:
            break

    if decoder.cut is None:
        assert cut_of(rows, rule) is None
    else:
        cut = decoder.cut // STRIDE
        assert not silent[cut - rule.kept - 1]
        assert all(silent[cut - rule.kept : cut])
        kept = one_pass(BORDERED, rows[:cut])
        assert decoder.stitched(decoder.cut).text == " ".join(w.text for w in kept)
        assert decoder.cut <= decoder.kept_samples or window.job.window.last


@given(utterances(), st.integers(0, 10**7), VOCABULARIES)
def test_word_times_are_monotone_and_inside_the_utterance(utterance, start, vocabulary):
    _, length, windows = utterance
    decoder = fresh(vocabulary, start=start)
    for window in windows:
        decoder.accept(window)

    times = [start / 16_000]
    for word in decoder.stitched(length).words:
        assert word.start < word.end
        assert 0 < word.confidence <= 1
        times += [word.start, word.end]
    times.append((start + length) / 16_000)

    assert times == sorted(times)


def test_words_show_early_and_settle_at_borders():
    shown = feed(fresh(), ("a", "a.b"), ("b|", "b"), ("b.", "|a"), ("a|", "bb"), "bb")

    assert shown == [
        Hypothesis("ab", 0, 4 * STRIDE),
        Hypothesis("ab b", 2, 4 * STRIDE),
        Hypothesis("ab b a", 2, 7 * STRIDE),
        Hypothesis("ab ba b", 5, 9 * STRIDE),
        Hypothesis("ab ba b", 7, 9 * STRIDE),  # the last window leaves no tail
    ]


def test_a_label_across_a_border_of_windows_is_one_label():
    decoder = fresh()
    feed(decoder, ("aa", "a"), ("a.", "a"), "ab")

    assert decoder.stitched(6 * STRIDE).text == "aab"


def test_left_context_is_not_heard_again():
    decoder = fresh()
    decoder.accept(logits(rows_of("a|bb"), 0, 0, 2 * STRIDE, 2 * STRIDE))
    decoder.accept(
        logits(rows_of("a|b."), 2 * STRIDE, 2 * STRIDE, 2 * STRIDE, 0, last=True)
    )

    assert decoder.stitched(4 * STRIDE).text == "a b"


def test_a_last_hop_may_end_inside_a_stride():
    decoder = fresh(start=1_600)
    decoder.accept(logits(rows_of("a|"), 0, 0, 2 * STRIDE, 0))
    decoder.accept(
        logits(rows_of("|bb"), 2 * STRIDE, STRIDE, STRIDE + 100, 0, last=True)
    )

    word = decoder.stitched(3 * STRIDE + 100).words[-1]

    assert (word.word, word.start) == ("b", (1_600 + 640) / 16_000)
    assert word.end == (1_600 + 3 * STRIDE + 100) / 16_000


def test_an_empty_hop_only_ends_the_utterance():
    decoder = fresh()
    first, second = feed(decoder, ("a", "b"), "")

    assert (first.text, first.stable) == ("ab", 0)
    assert (second.text, second.stable) == ("a", 1)
    assert decoder.stitched(STRIDE).text == "a"


def test_what_lies_past_the_last_hop_is_not_shown():
    decoder = fresh()
    feed(decoder, ("a|", "b"))

    assert decoder.hypothesis == Hypothesis("a", 1, 2 * STRIDE)


def test_word_times_count_from_the_streams_start():
    decoder = fresh(start=16_000)
    feed(decoder, "..aa.b|..b...")

    first, second = decoder.stitched(13 * STRIDE).words

    assert (first.word, first.start, first.end) == ("ab", 1.04, 1.12)
    assert (second.word, second.start, second.end) == ("b", 1.18, 1.2)


def test_an_utterance_is_as_sure_as_its_words_on_average():
    decoder = fresh()
    rows = rows_of("a|b|")
    rows[2] /= 5
    decoder.accept(logits(rows, 0, 0, 4 * STRIDE, 0, last=True))

    done = decoder.stitched(4 * STRIDE)

    sure, unsure = (word.confidence for word in done.words)
    assert unsure < 0.5
    assert sure > 0.9
    assert done.confidence == pytest.approx((sure + unsure) / 2)


def test_silence_is_no_words():
    decoder = fresh(blank_run=BlankRun(2, 1))
    feed(decoder, "..|", ".?.")

    assert decoder.cut is None
    assert decoder.stitched(6 * STRIDE) == Decoded("", (), 0.0)


@pytest.mark.parametrize(
    ("windows", "cut", "text"),
    [
        ([("....ab..", "")], None, "ab"),
        ([("....ab..", ".")], 8, "ab"),  # the right context counts
        ([("....ab.", "..")], None, "ab"),  # but the cut must be in the hop
        ([("....ab.", ".."), (".", ".")], 8, "ab"),
        ([("....ab.", ".."), (".", "b")], None, "ab"),  # a label after all
        ([("....ab.", ".a"), ("..", "b")], 8, "ab"),  # not a label after all
        ([("....ab..", "a"), ("aa", ".")], None, "aba"),
        ([("....ab..", "a"), (".", "a")], 8, "ab"),  # inside the hop before
        ([("ab...b..", "b"), ("bbb", "b")], 4, "ab"),
        ([("ab|.|b", "a")], 4, "ab"),
        ([("a.?.b", "a")], 3, "a"),
        ([("a..b..b..", "")], None, "abb"),
        ([("a", "."), (".", "."), (".", "."), (".", "a"), ("a", "")], 3, "a"),
        ([("a", "...")], None, "a"),
        ([("a", "..."), ("..", ".")], 3, "a"),
    ],
)
def test_a_run_of_blanks_after_text_ends_the_utterance(windows, cut, text):
    decoder = fresh(blank_run=BlankRun(steps=3, kept=2))
    shown = feed(decoder, *windows, last=False)

    assert decoder.cut == (cut and cut * STRIDE)
    assert decoder.stitched(decoder.cut or 100 * STRIDE).text == text
    if cut:
        assert shown[-1] == Hypothesis(text, len(text), cut * STRIDE)


@pytest.mark.parametrize("kept", [0, 4])
def test_a_blank_run_keeps_some_of_itself(kept):
    with pytest.raises(ValueError, match=f"1 to the 3 steps of the run, got {kept}"):
        BlankRun(3, kept)


def test_what_was_shown_as_stable_stays_when_the_utterance_ends_sooner():
    decoder = fresh()
    feed(decoder, "aa|bb|aabb", last=False)

    assert decoder.stitched(8 * STRIDE).text == "a b a"
    assert decoder.stitched(3 * STRIDE).text == "a b"
    ends = [word.end for word in decoder.stitched(4 * STRIDE).words]
    assert ends == [2 * STRIDE / 16_000, 4 * STRIDE / 16_000]


def test_a_cut_inside_the_last_stride_covers_no_more_than_was_heard():
    decoder = fresh(blank_run=BlankRun(2, 2))
    decoder.accept(logits(rows_of("a.."), 0, 0, 2 * STRIDE + 1, 0, last=True))

    assert decoder.cut == 3 * STRIDE
    assert decoder.hypothesis == Hypothesis("a", 1, 2 * STRIDE + 1)


def test_it_says_how_far_it_has_heard():
    decoder = fresh()
    feed(decoder, ("..", "a"), last=False)
    assert (2 * STRIDE, None) == (decoder.kept_samples, decoder.spoken_end)

    decoder.accept(logits(rows_of("a.|"), 2 * STRIDE, 0, 3 * STRIDE, 0))
    assert (5 * STRIDE, 3 * STRIDE) == (decoder.kept_samples, decoder.spoken_end)


def heard(samples):
    """A model of one row a stride that hears the stride's own level only."""
    strides = np.pad(samples, (0, -len(samples) % STRIDE)).reshape(-1, STRIDE)
    levels = (strides[:, 0] * 4).astype(int)
    return rows_of([".|ab"[level] for level in levels])


@given(
    st.text(".|ab", max_size=40),
    st.integers(0, STRIDE - 1),
    st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(0, 4)),
    st.lists(st.integers(0, 3_000), max_size=10),
)
def test_streaming_equals_one_pass_where_the_model_needs_no_context(
    path, short, shape, chunks
):
    levels = np.array([".|ab".index(letter) / 4 for letter in path], np.float32)
    audio = np.repeat(levels, STRIDE)
    audio = audio[: max(len(audio) - short, 0)]
    windower = Windower(WindowShape(*(STRIDE * n for n in shape)), normalise=False)
    decoder = fresh(start=4_800)
    windows, at = [], 0
    for size in chunks:
        windows += windower.push(audio[at : at + size])
        at += size
    windows += windower.push(audio[at:])
    windows += windower.flush()
    for window in windows:
        rows = heard(window.samples)
        decoder.accept(Logits(Job(1, 0, window, Pass.STITCHED, 0.0), rows))

    assert decoder.stitched(len(audio)) == decoder.full(heard(audio), len(audio))
    assert decoder.kept_samples == len(audio)


def test_a_full_pass_is_on_its_own():
    decoder = fresh(start=320)
    feed(decoder, ("a", "b"), last=False)

    done = decoder.full(rows_of("b|a"), 2 * STRIDE + 10)

    assert done.text == "b a"
    assert done.words[-1].end == (320 + 650) / 16_000
    assert decoder.hypothesis.text == "ab"


def test_the_tail_costs_no_more_late_than_early():
    """The open hypothesis touches the window's rows and the new words only."""
    decoder = fresh()
    feed(decoder, *["ab.|" * 4] * 400, last=False)

    assert len(decoder.stitched(6_400 * STRIDE).words) == 1_600
    assert decoder._stable_words == 1_600
    assert decoder.hypothesis.stable == len(decoder.hypothesis.text) == 1_600 * 3 - 1


@pytest.mark.parametrize(
    ("start", "message"),
    [(0, "starting at 0 came after 640 samples"), (960, "starting at 960 came after")],
)
def test_windows_must_follow_one_another(start, message):
    decoder = fresh()
    feed(decoder, "a.", last=False)

    with pytest.raises(ValueError, match=message):
        decoder.accept(logits(rows_of("a"), start, 0, STRIDE, 0))


def test_nothing_follows_the_last_window():
    decoder = fresh()
    feed(decoder, "a.")

    with pytest.raises(ValueError, match="came after the last one"):
        decoder.accept(logits(rows_of("a"), 2 * STRIDE, 0, STRIDE, 0))


def test_missing_rows_are_the_models_fault():
    with pytest.raises(ModelError, match="gave 2 rows for 960 samples, expected 3"):
        fresh().accept(logits(rows_of("ab"), 0, 0, 3 * STRIDE, 0))
    assert fresh().full(rows_of("ab|b"), 2 * STRIDE).text == "ab"
    with pytest.raises(ModelError, match="gave 2 rows for 641 samples, expected 3"):
        fresh().full(rows_of("ab"), 641)


def test_a_temperature_is_above_zero():
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        fresh(temperature=0.0)

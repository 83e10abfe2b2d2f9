"""Tokens: say what was signed, for as long as they hold, and nothing else."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.core import tokens
from streaming.core.tokens import Claims, Scope, is_token, sign, verify
from streaming.errors import Unauthorized

SECRET = b"s" * 32
words = st.text(min_size=1, max_size=60)
claims = st.builds(
    Claims, words, st.just(Scope.STREAM), st.integers(1, 2**40)
) | st.builds(Claims, words, st.just(Scope.READ), st.integers(1, 2**40), words)


def encoded(value):
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(header, said, secret=SECRET):
    body = f"{encoded(header)}.{encoded(said)}"
    return f"{body}.{tokens._signature(body, secret)}"


@given(claims, st.binary(min_size=1))
def test_a_token_says_what_was_signed(said, secret):
    token = sign(said, secret)

    assert said == verify(token, secret, said.expires_at - 1)
    assert is_token(token)


@given(claims, st.data())
def test_no_token_that_was_tampered_with_passes(said, data):
    token = sign(said, SECRET)
    at = data.draw(st.integers(0, len(token) - 1))
    kind = data.draw(st.sampled_from(["change", "drop", "insert"]))
    letter = data.draw(
        st.sampled_from("AQgwZz019-_.=é").filter(lambda x: x != token[at])
    )
    after = token[at:] if kind == "insert" else token[at + 1 :]
    other = token[:at] + ("" if kind == "drop" else letter) + after
    if other == token:  # a letter dropped beside its like
        return

    with pytest.raises(Unauthorized):
        verify(other, SECRET, 0.0)


@given(claims, st.binary(min_size=1).filter(lambda secret: secret != SECRET))
def test_another_secret_signs_another_token(said, secret):
    with pytest.raises(Unauthorized, match="not one of this server"):
        verify(sign(said, SECRET), secret + b"x", 0.0)


@given(st.text())
def test_whatever_comes_is_refused_in_words(text):
    with pytest.raises(Unauthorized):
        verify(text, SECRET, 0.0)


def test_a_token_ends():
    token = sign(Claims("desk", Scope.STREAM, 1_000), SECRET)

    assert "desk" == verify(token, SECRET, 999.9).key
    with pytest.raises(Unauthorized, match="has expired 0 s ago"):
        verify(token, SECRET, 1_000)
    with pytest.raises(Unauthorized, match="has expired 60 s ago"):
        verify(token, SECRET, 1_060)


GOOD = {"sub": "desk", "aud": "stream", "exp": 1_000}


def test_another_library_may_sign_for_us():
    token = signed({"typ": "JWT", "alg": "HS256", "kid": "1"}, {**GOOD, "iat": 1})

    assert Claims("desk", Scope.STREAM, 1_000) == verify(token, SECRET, 0)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"alg": "none"}, GOOD),
        ({"alg": "HS512"}, GOOD),
        ({}, GOOD),
        ([], GOOD),
        ({"alg": "HS256"}, []),
        *(
            ({"alg": "HS256"}, {**GOOD, **change})
            for change in (
                {"aud": "admin"},
                {"aud": ["stream"]},
                {"aud": "read"},
                {"sid": "s"},
                {"aud": "read", "sid": ""},
                {"sub": 1},
                {"sub": ""},
                {"exp": "1000"},
                {"exp": True},
                {"exp": float("inf")},
                {"exp": None},
            )
        ),
    ],
)
def test_a_signed_token_that_says_something_else_is_refused(header, said):
    with pytest.raises(Unauthorized):
        verify(signed(header, said), SECRET, 0)


@pytest.mark.parametrize("missing", ["sub", "aud", "exp"])
def test_nothing_may_be_missing(missing):
    said = {name: value for name, value in GOOD.items() if name != missing}
    with pytest.raises(Unauthorized, match="says nothing known"):
        verify(signed({"alg": "HS256"}, said), SECRET, 0)


@pytest.mark.parametrize(
    ("scope", "session"), [(Scope.STREAM, "s"), (Scope.READ, None)]
)
def test_to_read_is_to_read_one_session(scope, session):
    with pytest.raises(ValueError, match="goes with the scope read"):
        Claims("desk", scope, 1, session)

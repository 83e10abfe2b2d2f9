"""Keys are found wherever a dialect carries them, and nowhere else."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.protocols.credentials import (
    credential,
    public_query,
    public_subprotocols,
    session_token,
)


def basic(text):
    return f"Basic {b64encode(text.encode()).decode()}"


# Each real client's way, as its own source or documentation has it.
WAYS = [
    ({"authorization": "Bearer KEY"}, "", ()),  # openai, ours
    ({"authorization": "bearer KEY"}, "", ()),  # deepgram-sdk with an access token
    ({"authorization": "Token KEY"}, "", ()),  # deepgram-sdk
    ({"authorization": "token  KEY "}, "", ()),
    ({"authorization": "KEY"}, "", ()),  # assemblyai
    ({"authorization": basic("asterisk:KEY")}, "", ()),  # Asterisk chan_websocket
    ({"authorization": basic("KEY:")}, "", ()),
    ({}, "token=KEY", ()),  # assemblyai in a browser
    ({}, "model=x&access_token=KEY", ()),
    ({}, "model=x&access%5Ftoken=%4BEY&y", ()),
    ({}, "", ("token", "KEY")),  # @deepgram/sdk in a browser
    ({}, "", ("token", "KEY", "x-deepgram-session-id", "1-2-3")),
    ({}, "", ("bearer", "KEY")),
    ({}, "", ("realtime", "openai-insecure-api-key.KEY", "openai-beta.realtime-v1")),
    ({"authorization": "Bearer KEY"}, "token=b", ("bearer", "c")),
    ({}, "token=b", ("bearer", "KEY")),
    ({}, "session=s&token=t&after=0&access_token=KEY", ()),
]


@pytest.mark.parametrize(("headers", "query", "subprotocols"), WAYS)
def test_a_key_is_found_wherever_a_client_puts_it(headers, query, subprotocols):
    assert "KEY" == credential(headers, query, subprotocols)


NONE = [
    ({}, "", ()),
    ({"authorization": " "}, "", ()),
    ({"authorization": "Bearer"}, "", ()),
    ({"authorization": "Bearer "}, "", ()),
    ({"x-authorization": "Bearer KEY"}, "", ()),
    ({}, "session=s&token=t&after=0", ()),  # of our own resume
    ({}, "tokens=KEY&model=token", ()),
    ({}, "token", ()),
    ({}, "", ("token",)),
    ({}, "", ("audio.drachtio.org",)),
]


@pytest.mark.parametrize(("headers", "query", "subprotocols"), NONE)
def test_what_is_no_key_is_none(headers, query, subprotocols):
    assert credential(headers, query, subprotocols) is None


@pytest.mark.parametrize("broken", ["Basic ?", "Basic /w==", "Digest a=b"])
def test_what_cannot_be_read_is_a_wrong_key_not_a_missing_one(broken):
    assert credential({"authorization": broken}, "", ()) is not None


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
anything = st.dictionaries(
    st.sampled_from(["authorization", "cookie"]),
    texts | texts.map("Basic {}".format) | texts.map("bearer {}".format),
)


@given(anything, texts, st.lists(texts | st.sampled_from(["token", "bearer"])))
def test_whatever_comes_is_read_without_an_error(headers, query, subprotocols):
    found = credential(headers, query, subprotocols)

    assert found is None or found
    assert credential({}, public_query(query), ()) is None


keys = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]), min_size=1
)


@given(key=keys, before=keys, after=keys)
def test_a_query_that_may_be_shown_has_lost_the_key_and_nothing_else(
    key, before, after
):
    around = [f"a={quote(before, safe='')}", f"b={quote(after, safe='')}"]
    query = f"{around[0]}&token={quote(key, safe='')}&{around[1]}"

    assert key == credential({}, query, ())
    assert "&".join(around) == public_query(query)


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (("token", "KEY"), ("token",)),
        (("bearer", "KEY"), ("bearer",)),
        (("realtime", "openai-insecure-api-key.KEY", "b"), ("realtime", "b")),
        (("openai-insecure-api-key.KEY", "realtime"), ("realtime",)),
        (("openai-insecure-api-key.KEY",), ()),
        (("media",), ("media",)),
        ((), ()),
    ],
)
def test_no_key_can_be_answered_as_the_subprotocol(offered, expected):
    assert expected == public_subprotocols(offered)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ""),
        ("token=a%2Bb&token=c", "a+b"),
        ("x=1&" * 1_000 + "token=t", "t"),
        ("access_token=k", ""),
    ],
)
def test_the_secret_of_a_session_is_found_in_any_query(query, expected):
    assert expected == session_token(query)

"""Forms: the same however they are cut, and errors in type."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import BadRequest, ProtocolError, TooBig
from streaming.protocols.form import MAX_FIELD_BYTES, MAX_FIELDS, Form, boundary_of


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    more = "" if filename is None else f'; filename="{filename}"'
    head = f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return b"--b0\r\n" + head.encode() + value + b"\r\n"


END = b"--b0--\r\n"
WHOLE = (
    part("model", b"whisper-1")
    + part("file", b"\r\n--b\r\n--b0\r-", "caf\u00e9.wav")
    + part("timestamp_granularities[]", b"word")
    + part("timestamp_granularities[]", b"segment")
    + part("prompt", "\u00fc".encode())
    + END
)


def read(pieces):
    form = Form(b"b0")
    heard = b"".join(kept for piece in pieces for kept in form.push(piece))
    return form.close(), heard, form.filename


def test_a_form_is_fields_and_a_recording():
    fields, heard, name = read([WHOLE])

    assert fields == (
        ("model", "whisper-1"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        ("prompt", "\u00fc"),
    )
    assert b"\r\n--b\r\n--b0\r-" == heard
    assert "caf\u00e9.wav" == name


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_chunking_never_matters(sizes):
    pieces, at = [], 0
    for size in sizes:
        pieces.append(WHOLE[at : at + size])
        at += size
    pieces.append(WHOLE[at:])

    assert read([WHOLE]) == read([piece for piece in pieces if piece])


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (WHOLE[:-8], ProtocolError, "last boundary is missing"),
        (b"", ProtocolError, "last boundary is missing"),
        (b"no form", ProtocolError, "the form is broken"),
        (part("model", b"x") + END, BadRequest, "file must be sent, got model"),
        (END, BadRequest, "file must be sent, got nothing"),
        (part("file", b"a") * 2 + END, BadRequest, "file must be one recording"),
        (b"--b0\r\nX: y\r\n\r\n1\r\n" + END, BadRequest, "has no name"),
        (part("x", bytes(MAX_FIELD_BYTES + 1)) + END, TooBig, "x must have at most"),
        (part("x", b"") * (MAX_FIELDS + 1) + END, TooBig, "64 fields"),
        (b"--b0\r\n" + b"x" * 100_000, ProtocolError, "the form is broken"),
    ],
)
def test_what_is_no_such_form_is_refused(body, error, message):
    with pytest.raises(error, match=message):
        read([body])


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ("multipart/form-data; boundary=b0", b"b0"),
        ('Multipart/Form-Data; charset=utf-8; boundary="b 0"', b"b 0"),
    ],
)
def test_a_boundary_is_found(kind, boundary):
    assert boundary == boundary_of(kind)


@pytest.mark.parametrize(
    "kind", ["", "audio/wav", "multipart/form-data", "multipart/form-data; boundary="]
)
def test_a_body_that_is_no_form_is_refused(kind):
    with pytest.raises(BadRequest, match="content-type must"):
        boundary_of(kind)


@given(
    st.lists(
        st.binary(max_size=60)
        | st.sampled_from([b"--b0\r\n", b"\r\n", END, part("file", b"a"), WHOLE[:90]]),
        max_size=12,
    )
)
def test_arbitrary_bytes_give_a_form_or_a_typed_error(pieces):
    with suppress(ProtocolError, TooBig):
        read([piece for piece in pieces if piece])


@given(st.text(max_size=60))
def test_arbitrary_content_types_give_a_boundary_or_a_typed_error(kind):
    with suppress(BadRequest):
        boundary_of(kind.encode("latin-1", "replace").decode("latin-1"))

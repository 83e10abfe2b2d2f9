"""A client of a server with keys and a certificate of an authority of its own."""

from __future__ import annotations

import pytest

from clients import CannotConnect, Overloaded, Unauthorized, connect
from streaming.config import AccessConfig
from tests.server.scripted import staged
from tests.server.test_auth import KEY, SECRET, kept, keyed, token
from tests.server.test_tls import Authority


@pytest.fixture
def authority(tmp_path, monkeypatch):
    monkeypatch.delenv("WAVESTITCH_KEY", raising=False)
    made = Authority(tmp_path)
    made.ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    made.file = tmp_path / "ca.pem"
    return made


async def heard(url, **options):
    async with connect(url, **options) as stream:
        await stream.send(bytes(32_000))
        return (await stream.finish()).totals


async def test_a_key_and_the_authoritys_file_open_a_stream(authority, monkeypatch):
    async with staged(server=authority.server, access=keyed(), secret=SECRET) as stage:
        url = stage.server.url
        for options in (
            {"key": KEY, "ca_file": authority.file},
            {"key": token(), "ssl": authority.trust()},
            {"headers": {"Authorization": f"Token {KEY}"}, "ssl": authority.trust()},
        ):
            (totals,) = await heard(url, **options)
            assert 16_000 == totals.received
        monkeypatch.setenv("WAVESTITCH_KEY", KEY)
        (totals,) = await heard(url, ca_file=authority.file)
        assert 16_000 == totals.received


async def test_what_is_wrong_is_an_error_of_its_class(authority):
    access = keyed(kept(streams=1))
    async with staged(server=authority.server, access=access, secret=SECRET) as stage:
        url, trust = stage.server.url, authority.trust()
        with pytest.raises(CannotConnect, match="certificate verify failed"):
            await heard(url, key=KEY)
        with pytest.raises(Unauthorized, match="a key is needed") as caught:
            await heard(url, ssl=trust)
        assert (401, "unauthorized") == (caught.value.status, caught.value.code)
        async with connect(url, key=KEY, ssl=trust):
            with pytest.raises(Overloaded, match="1 streams at once") as full:
                await heard(url, key=KEY, ssl=trust)
        assert ("limit_reached", 5.0) == (full.value.code, full.value.retry_after_s)


async def test_where_no_key_is_asked_for_one_does_no_harm(monkeypatch):
    monkeypatch.setenv("WAVESTITCH_KEY", KEY)
    async with staged(access=AccessConfig()) as stage:
        (totals,) = await heard(stage.server.url)

    assert 16_000 == totals.received

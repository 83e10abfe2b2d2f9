"""Who is let in: keys and tokens, wherever they come; web pages; limits of a key."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streaming.config import AccessConfig, Config, ServerConfig
from streaming.core.keys import Key, hash_key
from streaming.core.tokens import Claims, Scope, sign
from streaming.errors import ConfigError, Forbidden, LimitReached, Unauthorized
from streaming.server import access as access_module
from streaming.server.access import Access
from streaming.server.dialects import DIALECTS
from streaming.server.keyring import draw_key, read_keys, token_secret, write_file
from streaming.server.origins import check_origin, is_loopback
from streaming.server.reception import RESTS
from tests.server.scripted import staged
from tests.server.test_http import ask, get, refused

KEY = "wsk_desk"
SECRET = b"s" * 32
SECOND = b"\0" * 32_000  # of audio, as the native protocol has it by default


def kept(name="desk", key=KEY, **limits):
    return Key(name, "00" * 16, hash_key(key, "00" * 16), **limits).line


def keyed(*lines, **access):
    return AccessConfig(keys=lines or (kept(),), **access)


def token(scope=Scope.STREAM, session=None, key="desk", life_s=3_600, secret=SECRET):
    return sign(Claims(key, scope, int(time.time() + life_s), session), secret)


@asynccontextmanager
async def locked(*lines, **access):
    async with staged(access=keyed(*lines, **access), secret=SECRET) as stage:
        yield stage


def bearer(key):
    return {"additional_headers": {"Authorization": f"Bearer {key}"}}


# --- keys ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", bearer(KEY)),
        ("", {"additional_headers": {"Authorization": f"Token {KEY}"}}),
        ("", {"additional_headers": {"Authorization": KEY}}),
        (f"?access_token={KEY}&words=false", {}),
        (f"?token={KEY}", {}),
        ("", {"subprotocols": ["token", KEY]}),
        ("", {"subprotocols": ["bearer", token()]}),
        ("", bearer(token())),
    ],
)
async def test_who_shows_a_key_or_a_token_is_let_in(query, options):
    async with locked() as stage, stage.connect(query, **options) as client:
        assert '"type":"ready"' in await client.recv()
        assert client.subprotocol in (None, "token", "bearer")
        assert 1 == stage.metric("key_streams_open", key="desk")


@pytest.mark.parametrize(
    ("options", "status", "code", "words"),
    [
        ({}, 401, "unauthorized", "Authorization: Bearer KEY"),
        (bearer("wsk_other"), 401, "unauthorized", "not one of this server"),
        (bearer("x" * 5_000), 401, "unauthorized", "not one of this server"),
        (bearer(token(life_s=-5)), 401, "unauthorized", "has expired"),
        (bearer(token(secret=b"t" * 32)), 401, "unauthorized", "not one of this"),
        (bearer(token(key="gone")), 401, "unauthorized", "is no more"),
        (bearer(token(Scope.READ, "s")), 403, "forbidden", "open no stream"),
    ],
)
async def test_who_does_not_is_told_why(options, status, code, words):
    async with locked() as stage:
        answer, headers, body = await refused(stage, **options)

    assert (status, code) == (answer, body["code"])
    assert words in body["message"]
    assert ("Bearer" if status == 401 else None) == headers.get("WWW-Authenticate")


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.path)
async def test_every_dialect_asks_for_a_key_and_takes_one(dialect):
    path = dialect.path.replace("{call}", "1")
    async with locked() as stage:
        url = f"{stage.server.url}{path}"
        with pytest.raises(InvalidStatus) as caught:
            await connect(url).__aenter__()
        assert 401 == caught.value.response.status_code
        for way in (f"?token={KEY}", f"?access_token={token()}"):
            async with connect(url + way):
                pass
        async with connect(url, **bearer(KEY)):
            pass
        with pytest.raises(InvalidStatus) as caught:
            await connect(url, **bearer(token(Scope.READ, "s"))).__aenter__()
        assert 403 == caught.value.response.status_code


@pytest.mark.parametrize("dialect", [*DIALECTS, *RESTS], ids=lambda each: each.path)
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unauthorized("no"), 401),
        (Forbidden("no"), 403),
        (LimitReached("no", 5.0), 429),
    ],
)
def test_every_dialect_has_its_words_for_a_refusal(dialect, error, status):
    refusal = dialect.refusal(error, "id")

    assert status == refusal.status
    assert "no" in refusal.body


async def test_a_browser_is_told_on_the_websocket():
    async with locked() as stage, stage.connect(origin=stage.origin) as client:
        said = json.loads(await client.recv())
        with pytest.raises(ConnectionClosed):
            await client.recv()

    assert ("unauthorized", 1008) == (said["code"], client.close_code)


async def test_without_keys_nobody_is_asked_and_a_key_does_no_harm():
    async with staged() as stage, stage.connect(**bearer(KEY)) as client:
        assert '"type":"ready"' in await client.recv()
        assert (await get(stage, "/metrics"))[0] == 200


async def test_health_is_for_all_and_what_names_keys_for_key_holders():
    async with locked() as stage:
        for path in ("/healthz", "/readyz"):
            assert 200 == (await get(stage, path))[0]
        status, headers, body = await get(stage, "/metrics")
        assert (401, "bearer") == (status, headers["www-authenticate"])
        assert "unauthorized" == json.loads(body)["code"]
        request = "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n"
        assert 403 == (await ask(stage, request.format(token()).encode()))[0]
        assert 200 == (await ask(stage, request.format(KEY).encode()))[0]


async def test_no_key_is_ever_shown_or_logged(caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets").setLevel(logging.INFO)  # the test's own client
    async with locked() as stage:
        for query, options in [
            (f"?access_token={KEY}&sample_rate=1", {}),
            (f"?token={KEY}&nonsense=1", {}),
            ("?nonsense=1", bearer(KEY)),
            ("?token=wsk_other", {}),
        ]:
            _, headers, body = await refused(stage, query, **options)
            assert "wsk_" not in json.dumps(body) + str(headers)
        async with stage.connect(f"?token={KEY}") as client:
            await client.recv()
            await client.send("no json")
            assert "wsk_" not in await client.recv()
        assert "wsk_" not in stage.server.metrics.text()
    assert "wsk_" not in caplog.text


# --- limits of a key -------------------------------------------------------


async def test_a_key_has_so_many_streams_at_once():
    async with locked(kept(streams=2), kept("other", "wsk_other")) as stage:
        async with stage.connect("?channels=2", **bearer(KEY)) as client:
            await client.recv()
            status, headers, body = await refused(stage, **bearer(token()))
            async with stage.connect(**bearer("wsk_other")) as other:
                assert '"type":"ready"' in await other.recv()
            await client.send('{"type":"finish"}')
            await client.wait_closed()
        async with stage.connect(**bearer(KEY)) as client:
            assert '"type":"ready"' in await client.recv()

    assert (429, "limit_reached", "5") == (status, body["code"], headers["Retry-After"])
    assert "2 streams at once, has 2" in body["message"]


async def test_a_day_that_is_spent_ends_a_stream_with_its_finals():
    async with locked(kept(minutes_a_day=1)) as stage:
        async with stage.connect("?channels=2", **bearer(KEY)) as client:
            for _ in range(30):  # of one second, in two channels
                await client.send(2 * SECOND)
            said = []
            with suppress(ConnectionClosed):
                async for message in client:
                    said.append(json.loads(message))  # noqa: PERF401  it ends so
        status, headers, body = await refused(stage, **bearer(KEY))
        assert 60 == stage.metric("key_audio_seconds_total", key="desk")
        assert 0 == stage.metric("key_streams_open", key="desk")

    assert ["final", "finished", "error"] == [each["type"] for each in said[-3:]]
    assert ("limit_reached", 1008) == (said[-1]["code"], client.close_code)
    assert (429, "limit_reached") == (status, body["code"])
    assert 0 < int(headers["Retry-After"]) <= 86_400


async def test_who_comes_back_shows_the_secret_of_the_session_not_a_key():
    async with staged(access=keyed(), secret=SECRET, resume_window_s=30) as stage:
        async with stage.connect(**bearer(token())) as client:
            ready = json.loads(await client.recv())
            client.transport.abort()
        query = f"?session={ready['session']}&token={{}}&after=0"
        status, _, body = await refused(stage, query.format("guessed"))
        async with stage.connect(query.format(ready["token"])) as client:
            again = json.loads(await client.recv())
            await client.send('{"type":"finish"}')
            await client.wait_closed()
        assert 0 == stage.metric("key_streams_open", key="desk")

    assert (410, "session_lost") == (status, body["code"])
    assert ("ready", ready["session"]) == (again["type"], again["session"])


# --- reading the keys again ------------------------------------------------


async def test_keys_are_read_again_and_open_streams_go_on(tmp_path, caplog):
    file = tmp_path / "keys"
    desk, (phone_key, phone) = kept(), draw_key("phone", streams=1, minutes_a_day=0)
    file.write_text(f"{desk}\n")
    access = AccessConfig(keys_file=str(file))
    async with staged(access=access) as stage, stage.connect(**bearer(KEY)) as client:
        await client.recv()
        file.write_text(f"{phone.line}\n")
        assert 401 == (await refused(stage, **bearer(phone_key)))[0]
        stage.server.reload()
        assert 401 == (await refused(stage, **bearer(KEY)))[0]
        async with stage.connect(**bearer(phone_key)) as other:
            assert '"type":"ready"' in await other.recv()

        file.write_text("nonsense\n")
        stage.server.reload()
        assert "what held holds" in caplog.text
        async with stage.connect(**bearer(phone_key)) as other:
            assert '"type":"ready"' in await other.recv()

        file.write_text("# nobody\n")
        stage.server.reload()
        assert 401 == (await refused(stage, **bearer(phone_key)))[0]
        await client.send('{"type":"finish"}')
        assert '"type":"finished"' in [m async for m in client][-1]


def test_what_a_key_has_used_survives_a_reload(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"{kept(minutes_a_day=1)}\n")
    config = Config(access=AccessConfig(keys_file=str(file)))
    access = Access(config, SECRET, clock=lambda: 0.0)
    (usage,) = access.usages
    usage.add(60.0, 0.0)
    assert usage.spent(0.0)
    file.write_text(f"{kept(minutes_a_day=2)}\n")
    access.reload()

    assert (usage,) == access.usages
    assert not usage.spent(0.0)


# --- where it may listen ---------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_an_address_that_others_reach_needs_keys_or_leave(host):
    elsewhere = Config(server=ServerConfig(host=host))
    with pytest.raises(ConfigError) as caught:
        Access(elsewhere)

    assert "wavestitch keys add NAME" in str(caught.value)
    assert "--allow-anyone" in str(caught.value)
    Access(replace(elsewhere, access=keyed()), SECRET)
    Access(replace(elsewhere, access=AccessConfig(allow_anyone=True)), SECRET)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host, expected):
    assert expected is is_loopback(host)


def test_keys_that_are_asked_for_and_not_there_start_nothing(tmp_path):
    with pytest.raises(ConfigError, match=r"no keys at .*: make one with"):
        Access(Config(access=AccessConfig(keys_file=str(tmp_path / "none"))))
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigError, match="there is none: make one"):
        Access(Config(access=AccessConfig(keys_file=str(tmp_path / "empty"))))


# --- web pages -------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "keyed", "expected"),
    [
        (None, "a.example", (), False, True),
        ("http://127.0.0.1:8770", "127.0.0.1:8770", (), False, True),
        ("http://[::1]:8770", "[::1]:8770", (), False, True),
        ("http://localhost:8770", "localhost:8770", (), False, True),
        ("https://a.example", "a.example", (), True, True),
        ("https://A.example", "a.EXAMPLE", (), True, True),
        # DNS rebinding: without keys a name proves nothing
        ("http://a.example:8770", "a.example:8770", (), False, False),
        ("http://localhost.evil:1", "localhost.evil:1", (), False, False),
        ("http://localhost:3000", "localhost:8770", (), False, False),
        ("https://b.example", "a.example", (), True, False),
        ("null", "a.example", (), True, False),
        ("null", "", (), True, False),
        ("", "", (), True, False),
        ("https://b.example", "a.example", ("https://b.example",), False, True),
        ("https://b.example", "a.example", ("https://B.example",), False, True),
        ("http://b.example", "a.example", ("https://b.example",), False, False),
        ("null", "a.example", ("null",), False, True),
        ("https://b.example", "a.example", ("*",), False, True),
    ],
)
def test_which_pages_may_use_the_server(origin, host, allowed, keyed, expected):
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    try:
        check_origin(headers, allowed, keyed=keyed)
    except Forbidden:
        assert not expected
    else:
        assert expected


async def test_a_strange_page_is_told_so_and_another_is_not():
    ours = AccessConfig(origins=("https://captions.example.com",))
    async with staged(access=ours) as stage:
        async with stage.connect(origin="https://evil.example") as page:
            said = json.loads(await page.recv())
            await page.wait_closed()
        async with stage.connect(origin="https://captions.example.com") as other:
            assert '"type":"ready"' in await other.recv()

    assert ("forbidden", 1008) == (said["code"], page.close_code)
    assert "'https://evil.example' may not use this server" in said["message"]
    assert "access.origins" in said["message"]


@pytest.mark.parametrize("origin", ["captions.example.com", "https://a/b", "https://"])
def test_an_origin_that_no_browser_sends_is_refused(origin):
    with pytest.raises(ConfigError, match="origins must be like"):
        AccessConfig(origins=(origin,))


# --- files -----------------------------------------------------------------


def test_files_of_keys_are_for_us_alone(tmp_path):
    file = tmp_path / "new" / "keys"
    _, key = draw_key("desk", streams=0, minutes_a_day=0)
    write_file(file, [key])
    config = AccessConfig(keys_file=str(file))

    assert (key,) == read_keys(config)
    assert token_secret(config) == token_secret(config)
    assert ["keys", "keys.secret"] == sorted(
        path.name for path in file.parent.iterdir()
    )
    assert {0o600} == {path.stat().st_mode & 0o777 for path in file.parent.iterdir()}


def test_without_a_file_the_secret_is_drawn_anew():
    assert token_secret(AccessConfig()) != token_secret(AccessConfig())


def test_a_short_secret_is_refused(tmp_path):
    (tmp_path / "secret").write_text("short\n")
    with pytest.raises(ConfigError, match="must have 32 bytes or more, got 5"):
        token_secret(AccessConfig(secret_file=str(tmp_path / "secret")))


def test_a_name_may_stand_in_one_place_only(tmp_path):
    (tmp_path / "keys").write_text(kept())
    with pytest.raises(ConfigError, match=r"desk stands in access\.keys and in the"):
        read_keys(AccessConfig(keys=(kept(),), keys_file=str(tmp_path / "keys")))


def test_keys_and_leave_for_everyone_exclude_each_other():
    with pytest.raises(ConfigError, match="exclude each other"):
        AccessConfig(keys=(kept(),), allow_anyone=True)


async def test_many_wrong_keys_at_once_lock_nobody_out(monkeypatch):
    compared = []
    find = access_module.find_key
    monkeypatch.setattr(
        access_module, "find_key", lambda *a: compared.append(1) or find(*a)
    )
    async with locked() as stage:
        wrong = (refused(stage, **bearer(f"wsk_{n}")) for n in range(20))
        answers = await asyncio.gather(*wrong)
        async with stage.connect(**bearer(KEY)) as client:
            assert '"type":"ready"' in await client.recv()

    assert [401] * 20 == [status for status, _, _ in answers]
    assert 21 == len(compared)

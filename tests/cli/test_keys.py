"""`wavestitch keys`, and what `wavestitch serve` makes of them."""

from __future__ import annotations

import time

import pytest

from streaming.cli import main
from streaming.cli.serve import _in_the_clear
from streaming.cli.settings import from_toml, merge
from streaming.config import AccessConfig, Config, ServerConfig
from streaming.core.keys import find_key
from streaming.core.tokens import Claims, Scope, verify
from streaming.server.keyring import read_file, token_secret


@pytest.fixture
def call(capfd, monkeypatch, tmp_path):
    """Run a command in this process, in a folder of settings of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("WAVESTITCH_ACCESS__KEYS_FILE", raising=False)

    def called(*arguments):
        status = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return status, out, err

    return called


def test_a_key_is_shown_once_and_kept_as_a_hash(call, tmp_path):
    file = tmp_path / "wavestitch" / "keys"
    status, out, err = call("keys", "add", "desk", "--streams", 4)
    assert 0 == status
    shown = out.strip()
    assert shown.startswith("wsk_")
    assert len(shown) > 40
    assert "not shown again" in err
    assert shown not in file.read_text() + err

    _, other, _ = call("keys", "add", "phone", "--minutes-a-day", 600)
    keys = read_file(file)
    assert ["desk", "phone"] == [key.name for key in keys]
    assert keys[0] == find_key(keys, shown)
    assert keys[1] == find_key(keys, other.strip())
    assert (4, 0, 0, 600) == (
        *(keys[0].streams, keys[0].minutes_a_day),
        *(keys[1].streams, keys[1].minutes_a_day),
    )

    status, out, _ = call("keys", "list")
    assert [["desk", "4", "any"], ["phone", "any", "600"]] == [
        line.split() for line in out.splitlines()[1:]
    ]
    assert "sha256" not in out

    assert 0 == call("keys", "remove", "desk")[0]
    assert keys[1:] == read_file(file)


def test_a_token_is_made_on_the_account_of_a_key(call, tmp_path):
    file = tmp_path / "mine"
    call("keys", "add", "desk", "--keys", file)
    _, stream, _ = call("keys", "token", "desk", "--keys", file, "--life-s", 90)
    _, read, _ = call("keys", "token", "desk", "--keys", file, "--read", "abc")

    secret = token_secret(AccessConfig(keys_file=str(file)))
    claims = verify(stream.strip(), secret, time.time())
    assert ("desk", Scope.STREAM) == (claims.key, claims.scope)
    assert 80 <= claims.expires_at - time.time() <= 90
    claims = verify(read.strip(), secret, time.time())
    assert Claims("desk", Scope.READ, claims.expires_at, "abc") == claims


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add"], "keys add needs the NAME of a key"),
        (["token"], "keys token needs the NAME of a key"),
        (["add", "desk"], "there is a key desk in"),
        (["add", "a b"], "the name of a key has 1 to 64 letters"),
        (["add", "x", "--streams", "-1"], "streams must be 0 to 1000000, got -1"),
        (["remove", "phone"], "there is no key phone in"),
        (["token", "phone"], "there is no key phone in"),
        (["shout"], "'shout' is not one of"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(call, arguments, words):
    call("keys", "add", "desk")
    status, out, err = call("keys", *arguments)

    assert (True, "") == (status in (1, 2), out)
    assert words in err
    assert 1 == len(err.splitlines())


def test_without_any_keys_it_is_said_how_to_make_one(call):
    status, _, err = call("keys", "list")

    assert 1 == status
    assert "make one with wavestitch keys add NAME" in err


def served(call, *arguments):
    status, out, _ = call("serve", "--print-config", *arguments)
    assert 0 == status
    return merge(from_toml(out, "printed"))


def test_serve_asks_for_the_users_own_keys_where_there_are_any(call, tmp_path):
    assert Config().access == served(call).access
    call("keys", "add", "desk")

    own = str(tmp_path / "wavestitch" / "keys")
    assert own == served(call).access.keys_file
    assert "other" == served(call, "--keys", "other").access.keys_file
    assert served(call, "--allow-anyone").access == AccessConfig(allow_anyone=True)


def test_serve_says_where_others_could_listen_in(call):
    everywhere = ServerConfig(host="0.0.0.0")
    assert "unencrypted" in _in_the_clear(Config(server=everywhere))
    assert not _in_the_clear(Config())
    secured = ("--host", "::", "--tls-certificate", "c", "--tls-key", "k")
    config = served(call, *secured)
    assert ("c", "k") == (config.server.tls_certificate, config.server.tls_key)
    assert not _in_the_clear(config)


def test_a_server_that_strangers_reach_does_not_start(call):
    status, out, err = call("serve", "--host", "0.0.0.0", "--port", 0)

    assert (1, "") == (status, out)
    assert "let everyone in with --allow-anyone" in err


def test_a_server_with_a_certificate_that_is_none_does_not_start(call, tmp_path):
    status, _, err = call("serve", "--port", 0, "--tls-certificate", tmp_path / "none")

    assert 1 == status
    assert "cannot read" in err

"""Settings merge: later layers win, unknown keys are named, TOML comes back."""

from __future__ import annotations

import tomllib
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.cli.settings import (
    from_assignments,
    from_environment,
    from_flags,
    from_toml,
    merge,
    parse_bool,
    to_toml,
)
from streaming.config import Config, Finals
from streaming.errors import ConfigError


def leaves(room=Config, above=()):
    """The dotted name and type of every setting."""
    for name, kind in get_type_hints(room).items():
        if is_dataclass(kind):
            yield from leaves(kind, (*above, name))
        else:
            yield ".".join((*above, name)), kind


def value(config, key):
    for name in key.split("."):
        config = getattr(config, name)
    return config


@given(ports=st.lists(st.none() | st.integers(0, 65_535), min_size=4, max_size=4))
def test_the_last_layer_that_says_something_wins(ports):
    file, environment, assignment, flag = ports
    layers = [
        from_toml("" if file is None else f"[server]\nport = {file}", "f.toml"),
        from_environment(
            {} if environment is None else {"WAVESTITCH_SERVER__PORT": str(environment)}
        ),
        from_assignments([] if assignment is None else [f"server.port={assignment}"]),
        from_flags({"server.port": flag}),
    ]

    said = [port for port in ports if port is not None]
    assert (said or [8770])[-1] == merge(*layers).server.port


@pytest.mark.parametrize(("key", "kind"), list(leaves()))
def test_every_setting_can_be_set_in_every_way(key, kind):
    default = value(Config(), key)
    text = {"None": "", "()": "", "True": "true", "False": "false"}.get(
        str(default), default.value if isinstance(default, Enum) else str(default)
    )
    name = "WAVESTITCH_" + key.upper().replace(".", "__")

    assert default == value(merge(from_environment({name: text})), key), kind
    assert default == value(merge(from_assignments([f"{key}={text}"])), key)
    assert Config() == merge(from_toml(to_toml(Config()), "f.toml"))


@given(
    host=st.text(st.characters(exclude_categories=["Cs"])),
    port=st.integers(0, 65_535),
    backlog=st.floats(1, 3_600),
    finals=st.sampled_from(Finals),
    trust=st.booleans(),
    name=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    devices=st.lists(st.sampled_from(["cpu", "cuda:1"]), max_size=3).map(tuple),
)
def test_what_is_printed_is_read_as_the_same_settings(
    host, port, backlog, finals, trust, name, devices
):
    config = Config()
    config = replace(
        config,
        server=replace(config.server, host=host, port=port),
        limits=replace(config.limits, backlog_s=backlog),
        model=replace(config.model, trust_pickle=trust, name=name, devices=devices),
        stream=replace(
            config.stream, decoder=replace(config.stream.decoder, finals=finals)
        ),
    )

    assert config == merge(from_toml(to_toml(config), "f.toml"))


def test_what_is_printed_has_every_setting():
    printed = to_toml(Config())

    for key, _ in leaves():
        assert f"{key.rpartition('.')[2]} =" in printed
    assert {field.name for field in fields(Config)} == set(tomllib.loads(printed))


@pytest.mark.parametrize("text", ["1", "true", "True", "YES", "on", " true "])
def test_words_for_true(text):
    assert parse_bool(text)
    layer = from_environment({"WAVESTITCH_STREAM__PARTIALS": text})
    assert merge(layer).stream.partials


@pytest.mark.parametrize("text", ["0", "false", "False", "NO", "off"])
def test_words_for_false(text):
    assert not parse_bool(text)
    layer = from_environment({"WAVESTITCH_STREAM__PARTIALS": text})
    assert not merge(layer).stream.partials


@pytest.mark.parametrize(
    "environment",
    [
        {"WAVESTITCH_PORT": "tcp://10.0.0.1:8770"},  # Kubernetes, for our service
        {"WAVESTITCH_CONFIG": "x.toml"},
        {"PATH": "/bin"},
        {"SERVER__PORT": "1"},
    ],
)
def test_what_is_not_ours_in_the_environment_is_left_alone(environment):
    assert Config() == merge(from_environment(environment))


WRONG_TOML = [
    ("port = 1", "f.toml: unknown setting port; the top has server, "),
    (
        "[server]\nprot = 1",
        "f.toml: unknown setting server.prot; server has host, port",
    ),
    ("[server.port]\nx = 1", "f.toml: server.port must be a whole number"),
    ("server = 1", "f.toml: server is a table, got 1"),
    ("[server]\nport = '1'", "server.port must be a whole number, got '1'"),
    ("[server]\nport = true", "server.port must be a whole number, got True"),
    ("[server]\nport = 1.0", "server.port must be a whole number, got 1.0"),
    ("[server]\nport = 70000", "f.toml: server.port must be 0 to 65535, got 70000"),
    ("[server]\nhost = 1", "server.host must be text, got 1"),
    ("[stream]\npartials = 1", "stream.partials must be true or false, got 1"),
    ("[stream.decoder]\nfinals = 'x'", "must be one of auto, full, stitched, got 'x'"),
    ("[limits]\nbacklog_s = 'x'", "limits.backlog_s must be a number, got 'x'"),
    ("[server", "f.toml: not TOML: "),
]


@pytest.mark.parametrize(("text", "words"), WRONG_TOML)
def test_a_wrong_file_is_refused_by_name(text, words):
    with pytest.raises(ConfigError) as caught:
        merge(from_toml(text, "f.toml"))

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("WAVESTITCH_SERVER__PROT", "1", "SERVER__PROT: unknown setting server.prot"),
        ("WAVESTITCH_SERVER__PORT", "x", "server.port must be a whole number, got 'x'"),
        ("WAVESTITCH_SERVER__PORT", "", "server.port must be a whole number, got ''"),
        ("WAVESTITCH_STREAM__GATE", "1", "stream.gate is a table, not a setting"),
        ("WAVESTITCH_SERVER__PORT__X", "1", "server.port is no table"),
        ("WAVESTITCH_STREAM__PARTIALS", "2", "must be true or false, got '2'"),
        ("WAVESTITCH_STREAM__DECODER__FINALS", "x", "must be one of auto, full"),
        ("WAVESTITCH_SERVER__PORT", "-1", "SERVER__PORT: server.port must be 0 to"),
    ],
)
def test_a_wrong_environment_is_refused_by_name(name, text, words):
    with pytest.raises(ConfigError) as caught:
        merge(from_environment({name: text}))

    assert words in str(caught.value)


def test_an_assignment_needs_both_sides():
    with pytest.raises(ConfigError, match=r"KEY=VALUE, got 'server\.port'"):
        from_assignments(["server.port"])


def test_a_whole_number_is_good_for_a_setting_in_seconds():
    config = merge(from_toml("[limits]\nbacklog_s = 3", "f.toml"))

    assert (3.0, float) == (config.limits.backlog_s, type(config.limits.backlog_s))


def test_a_list_is_one_in_a_file_and_words_between_commas_elsewhere():
    expected = ("cuda:0", "cuda:1")
    listed = from_toml('[model]\ndevices = ["cuda:0", "cuda:1"]', "f.toml")
    name = "WAVESTITCH_MODEL__DEVICES"

    assert expected == merge(listed).model.devices
    assert expected == merge(from_environment({name: "cuda:0, cuda:1"})).model.devices
    assert merge(listed).several
    for wrong in ('"cuda:0"', "[0, 1]"):
        with pytest.raises(ConfigError, match="devices must be a list of texts"):
            from_toml(f"[model]\ndevices = {wrong}", "f.toml")
    with pytest.raises(ConfigError, match=r"devices must be cpu, .* got 'tpu'"):
        merge(from_environment({name: "cpu,tpu"}))


@pytest.mark.parametrize(("ingest", "several"), [(0, False), (1, True), (4, True)])
def test_ingest_processes_make_several(ingest, several):
    assert several == merge(from_flags({"server.ingest": ingest})).several

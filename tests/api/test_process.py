"""The frontend as a process has it: TLS, signals, and the command line as its client."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from .fake_compute import definition
from .rig import Rig, running

ROOT = Path(__file__).parents[2]

SERVER = """
import signal, sys, threading
from tests.api.rig import new_rig, Log
from pvc_api_falcon.frontend import FalconFrontend
from pvc_api_falcon.settings import Settings
rig = new_rig()
frontend = FalconFrontend(Settings(listen="127.0.0.1", port=0, socket=sys.argv[1]), rig.services, Log())
signal.signal(signal.SIGTERM, lambda *_: frontend.stop())
threading.Thread(target=lambda: (frontend.ready.wait(), print(frontend.port, rig.key, flush=True)), daemon=True).start()
frontend.serve()
print("served", flush=True)
"""


def test_tls(rig: Rig, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    with running(rig, tmp_path, certificate=str(certificate), certificate_key=str(key)) as api:
        context = ssl.create_default_context(cafile=str(certificate))
        url = f"https://127.0.0.1:{api.frontend.port}/api/v1"
        with httpx2.Client(verify=context, headers={"X-Api-Key": api.key}) as client:
            assert client.get(f"{url}/vm").status_code == 200
        with api.local() as local:
            assert local.get("/vm").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_signal_ends_it(tmp_path: Path, number: int) -> None:
    """From the main thread's own handler, while a client holds an idle connection."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins/api_falcon")])
    command = [sys.executable, "-c", SERVER, str(tmp_path / "api.sock")]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port, key = process.stdout.readline().split()
        with httpx2.Client(headers={"X-Api-Key": key}) as client:
            assert client.get(f"http://127.0.0.1:{port}/api/v1/vm").status_code == 200
            began = time.monotonic()
            process.send_signal(number)
            assert process.wait(10) == 0
            assert time.monotonic() - began < 5.0
        assert process.stdout.read() == "served\n"
        assert not (tmp_path / "api.sock").exists()
    finally:
        process.kill()
        process.wait()


def pvc(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PVC_CLIENT_DIR": str(tmp_path), "PYTHONPATH": str(ROOT / "plugins/cli"), **environment}
    command = [sys.executable, "-m", "pvc_cli", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)


def test_the_command_line_talks_to_it(rig: Rig, tmp_path: Path) -> None:
    with running(rig, tmp_path) as api:
        xml = tmp_path / "vm.xml"
        xml.write_text(definition("typed"))
        way = {"PVC_API_URL": f"{api.url}/api/v1", "PVC_API_KEY": api.key}
        for arguments in (
            ("vm", "define", str(xml)),
            ("vm", "start", "typed"),
            ("node", "list"),
            ("plugin", "list"),
            ("cluster", "status"),
        ):
            done = pvc(tmp_path, *arguments, **way)
            assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        done = pvc(tmp_path, "vm", "list", "-f", "raw", **way)
        assert "typed" in done.stdout, done.stderr
        image = tmp_path / "disk.img"
        image.write_bytes(b"disk" * 500_000)
        for arguments in (
            ("storage", "volume", "add", "vms", "typed0", "10M"),
            ("storage", "volume", "upload", "vms", "typed0", str(image)),
        ):
            done = pvc(tmp_path, *arguments, **way)
            assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        assert rig.node.uploads["vms/typed0"] == image.read_bytes()

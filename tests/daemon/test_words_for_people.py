"""pvcnoded tells a person what is wrong in a sentence: no traceback, and nothing left behind that is half."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pvc_core.config import ConfigError, LastGood, load
from pvc_core.daemon import custody
from pvc_core.daemon.noded import main
from pvc_core.daemon.ring import LogRing

TEXT = """cluster: {{name: cluster1, coordinators: [{node}]}}
store: {{embedded: {{}}}}
paths: {{run: {tmp}/run, state: {tmp}/state, secrets: {tmp}/secrets, log: {tmp}/log}}
plugins: {{compute_libvirt: {{}}, api_falcon: {{}}}}
use: {{compute: compute_libvirt}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "pvc.yaml"
    made.write_text(TEXT.format(node="hv1", tmp=tmp_path))
    return made


def test_a_directory_that_cannot_be_made_is_named(file: Path) -> None:
    """In a process of its own: it is a daemon that begins, with its log."""
    (file.parent / "run").write_text("a file where a directory belongs")
    call = "import sys; from pvc_core.daemon.noded import main; sys.exit(main(sys.argv[1:]))"
    argv = [sys.executable, "-c", call, "--config", str(file), "--node", "hv1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    said = done.stderr.splitlines()[-1]
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert said.startswith("pvcnoded: pvcnoded cannot lock") and "run/noded.lock" in said and "as root" in said


def test_so_is_one_that_a_command_needs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "pki").mkdir()
    for name in ("ca.key", "ca.crt"):
        (file.parent / "pki" / name).mkdir()
    file.write_text(file.read_text() + "host_networks: {cluster: {device: eth1, address: 10.1.0.11/24}}\n")
    assert main(["token", "--config", str(file), "--node", "hv1"]) == 1
    assert str(file.parent / "pki" / "ca.crt") in capsys.readouterr().err


def test_a_first_configuration_is_whole_or_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the next try would leave the half of it as it is."""
    file, before = tmp_path / "pvc.yaml", resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))  # as a disk that is full
    try:
        assert main(["init", "--config", str(file), "--node", "hv1"]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "pvc.yaml" in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert main(["init", "--config", str(file), "--node", "hv1", "--cluster", "no name!"]) == 1
    assert "cannot be the name of a cluster" in capsys.readouterr().err and not file.exists()


def test_a_node_with_dots_in_its_name_is_kept_in_custody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "hv1.example.org")
    file = tmp_path / "pvc.yaml"
    file.write_text(TEXT.format(node="hv1.example.org", tmp=tmp_path))
    (tmp_path / "state").mkdir()
    LastGood(tmp_path / "state").save(load(file))
    file.write_text(file.read_text() + "nonsense: 1\n")
    with pytest.raises(ConfigError) as broken:
        load(file)
    config, _loaded, why = custody.instead(file, None, broken.value)
    assert config.node == "hv1.example.org" and "nonsense" in why


def test_a_line_that_is_no_text_is_kept_as_far_as_it_is(tmp_path: Path) -> None:
    ring = LogRing(capacity=3)
    ring.append("the volume \udcff")
    ring.keep(tmp_path / "lines")
    for number in range(20):
        ring.append(f"line {number} \udcff")
    again = LogRing(capacity=3)
    again.keep(tmp_path / "lines")
    assert again.lines() == [f"line {number} ?" for number in (17, 18, 19)]

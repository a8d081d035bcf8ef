"""What may stand in for pvc.yaml instead of a good file: each gets one clear fault and never a traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pvc_core.config import ConfigError, check, load, read

GOOD = "cluster: {name: c1, coordinators: [hv1]}\nstore: {embedded: {}}\nplugins: {}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pvc.yaml"


def only_fault(path: Path, node: str = "hv1") -> str:
    faults = check(path, node=node)
    assert len(faults) == 1, [str(fault) for fault in faults]
    return str(faults[0])


@pytest.mark.parametrize(
    ("content", "said", "line"),
    [
        (b"", "found nothing; a mapping is needed", 1),
        (b"# only a comment\n", "found nothing; a mapping is needed", 1),
        (b"hello\n", 'found "hello"; a mapping is needed', 1),
        (b"- a\n- b\n", "found a list of 2; a mapping is needed", 1),
        (b"cluster:\n\tname: c1\n", "found a tab in the indentation; YAML takes spaces only", 2),
        (b"a: 1\n\x7fELF\x02", "found the control character 0x7f; the file must be plain text", 2),
        (b"a: 1\nb: \xff\xfe\n", "found byte 0xff; the file must be text in UTF-8", 2),
        (b"a: [1\nb: 2", "found a syntax error; ", 2),
        (b"a: &x 1\nb: *x\n", "found an anchor or alias", 1),
        (b"a: 1\n---\nb: 1\n", "found a second document (---)", 2),
        (b"a: " + b"[" * 50 + b"]" * 50, "found very deep nesting; at most 20 levels", 1),
    ],
)
def test_a_text_that_is_no_configuration(file: Path, content: bytes, said: str, line: int) -> None:
    file.write_bytes(content)
    told = only_fault(file)
    assert said in told
    assert told.startswith(f"{file}:{line}")


def test_a_file_of_ten_megabytes_is_refused_unread(file: Path) -> None:
    file.write_bytes(b"a: 1\n" * 2_000_000)
    assert "found 10000000 bytes; a configuration has at most 262144 bytes" in only_fault(file)


def test_no_file(file: Path) -> None:
    assert (
        only_fault(file)
        == f"{file}: no such file; write one after the example docs/pvc.yaml, or name another with --config"
    )


def test_a_directory_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe):
        assert "found something that is no regular file" in only_fault(path)


def test_no_permission(file: Path) -> None:
    """As the unprivileged user of the API would meet it: in a child, because root may read everything."""
    file.write_text(GOOD)
    file.chmod(0o600)
    file.parent.chmod(0o755)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            os.write(writer, "".join(str(fault) for fault in check(file, node="hv1")).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as told:
        assert ("no permission to read it; make it readable for this user" in told.read()) == (os.geteuid() == 0)


def test_duplicate_keys_are_refused_with_both_lines(file: Path) -> None:
    file.write_text(GOOD + "store: {embedded: {port: 1, port: 2}}\n")
    told = [str(fault) for fault in check(file, node="hv1")]
    assert any(f"{file}:4:1: store: this key is given twice; it stands on line 2 already" in each for each in told)


@pytest.mark.parametrize("value", ["!!python/object/apply:os.system [true]", "!mine x", "2026-99-99", "1" * 5000])
def test_values_that_are_no_plain_yaml(file: Path, value: str) -> None:
    file.write_text(f"{GOOD}paths:\n  state: {value}\n")
    faults = check(file, node="hv1")
    assert faults and all(fault.key == "paths.state" and fault.line == 5 for fault in faults)


def test_hostile_text_is_shown_harmlessly(file: Path) -> None:
    file.write_text(GOOD + 'paths: {state: "\\e[2J\\x00", "\\e]0;x": 1, log: "' + "x" * 5000 + '"}\n')
    told = "".join(str(fault) for fault in check(file, node="hv1"))
    assert "\x1b" not in told and "\x00" not in told
    assert len(told) < 3000


def test_secrets_do_not_reach_the_message(file: Path) -> None:
    file.write_text(
        GOOD.replace("plugins: {}", "plugins:\n  p: {pasword: x, password: hunter2, : }\n  q: [api_key: k3y")
    )
    told = "".join(str(fault) for fault in check(file, node="hv1"))
    assert told and "hunter2" not in told and "k3y" not in told


def test_windows_line_ends_and_a_byte_order_mark_are_fine(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load(file, node="hv1").cluster.name == "c1"


def test_the_error_prints_every_fault_on_a_line_of_its_own(file: Path) -> None:
    file.write_text(GOOD + "host_networks:\n  storage: {device: eth0, mtu: nine}\nuse: {compute: x}\n")
    with pytest.raises(ConfigError) as caught:
        load(file, node="hv1")
    assert str(caught.value).splitlines() == [
        f'{file}:5:27: host_networks.storage.mtu: found "nine"; '
        "a whole number of bytes between 576 and 9216 is allowed",
        "    |   storage: {device: eth0, mtu: nine}",
        f'{file}:6:7: use.compute: found "x"; one of the plugins listed below `plugins` is allowed: ',
        "    | use: {compute: x}",
    ]
    assert read(file, node="hv1").config is None

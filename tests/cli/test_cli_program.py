"""The program as a whole: what it imports, how fast it starts, pipes, terminals, completion, PVC 1.0's tree."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from pvc_cli.main import cli

HERE = Path(__file__).parent
PVC = [sys.executable, "-m", "pvc_cli"]
FORBIDDEN = "kazoo|libvirt|rados|rbd|pvc_core|marshmallow|pluggy|stevedore"


def modules_after(code: str) -> set[str]:
    shown = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True).stdout.split())


def test_nothing_of_the_cluster_is_imported() -> None:
    everything = "\n".join(f"import {name}" for name in all_modules())
    loaded = modules_after(everything)
    assert "pvc_cli.commands.vm_volume" in loaded
    assert not {name for name in loaded if re.fullmatch(rf"({FORBIDDEN})(\..*)?", name)}


def test_help_imports_no_http_and_no_tables() -> None:
    loaded = modules_after(
        "from pvc_cli.main import run\nimport os, contextlib\n"
        "with contextlib.redirect_stdout(open(os.devnull, 'w')):\n    run(['--help'])"
    )
    assert "click" in loaded
    assert not loaded & {"http.client", "ssl", "rich", "lxml", "json", "pvc_cli.api", "pvc_cli.commands.vm"}


def all_modules() -> list[str]:
    root = Path(sys.modules["pvc_cli"].__file__ or "").parent
    files = [path for path in root.rglob("*.py") if "skeletons" not in path.parts and path.name != "__main__.py"]
    return [".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__") for path in files]


def test_start_up_time_is_printed(api_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {**os.environ, "PVC_API_URL": api_url}
    with capsys.disabled():
        for argv in (["--help"], ["vm", "--help"], ["vm", "list"], ["vm", "list", "-f", "json"]):
            times = []
            for _ in range(5):
                begin = time.perf_counter()
                subprocess.run([*PVC, *argv], env=environ, stdout=subprocess.DEVNULL, check=True)
                times.append(time.perf_counter() - begin)
            print(f"\npvc {' '.join(argv)}: {sorted(times)[2] * 1000:.0f} ms (median of 5)", end="")


def test_a_reader_that_leaves_is_no_error(api_url: str) -> None:
    program = f"{sys.executable} -m pvc_cli vm list -f json-pretty | head -c 1"
    done = subprocess.run(
        ["bash", "-c", program], env={**os.environ, "PVC_API_URL": api_url}, capture_output=True, check=False
    )
    assert (done.stdout, done.stderr) == (b"[", b"")


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_on_a_terminal(api_url: str, environ: dict[str, str], coloured: bool) -> None:
    shown = on_terminal(["vm", "list"], {"PVC_API_URL": api_url, "TERM": "xterm", "COLUMNS": "200", **environ})
    assert "vm00000" in shown
    assert ("\x1b[" in shown) == coloured


def test_progress_on_a_terminal(api: Any, api_url: str) -> None:
    running = api.sample("GET /tasks/1a2b3c4d (running)")
    api.on("GET /tasks/1a2b3c4d", running, running, api.sample("GET /tasks/1a2b3c4d (done)"))
    shown = on_terminal(["task", "wait", "1a2b3c4d"], {"PVC_API_URL": api_url, "TERM": "xterm"})
    assert "40%" in shown


def on_terminal(argv: list[str], environ: dict[str, str]) -> str:
    """What `pvc ARGS` shows when its output is a terminal."""
    leader, follower = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen([*PVC, *argv], env={**clean, **environ}, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    assert process.wait(timeout=20) == 0, shown
    return shown.decode()


def test_an_interrupted_log_ends_at_once(api_url: str) -> None:
    process = subprocess.Popen(
        [*PVC, "vm", "log", "-f", "vm00001"],
        env={**os.environ, "PVC_API_URL": api_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("[  0.000000] console line")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (130, "\nStopped.\n")


def test_a_log_is_streamed_and_goes_on_when_the_stream_breaks(api: Any, api_url: str) -> None:
    reply = type(api.sample("GET /vm"))
    text = "one\nzw\u00f6lf\n"

    def console(request: Any) -> Any:
        if "follow" in request.query:
            return reply(200, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})
        return reply(200, {"name": "vm1", "data": text + "three\n"})

    api.on("GET /vm/vm1/console", console)
    process = subprocess.Popen(
        [*PVC, "vm", "log", "-f", "-l", "7", "vm1"],
        env={**os.environ, "PVC_API_URL": api_url, "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)] == ["one\n", "zw\u00f6lf\n", "three\n"]
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[0] == ""
    assert api.requests[0].query == {"lines": ["7"], "follow": ["true"]}


def test_following_what_is_not_there(api_url: str) -> None:
    environ = {**os.environ, "PVC_API_URL": api_url}
    assert (
        subprocess.run([*PVC, "vm", "log", "-f", "gone"], env=environ, capture_output=True, check=False).returncode == 3
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    environ = {**os.environ, "_PVC_COMPLETE": f"{shell}_source"}
    code = "from pvc_cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert "_PVC_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [("pvc v", {"vm"}), ("pvc vm tag ", {"get", "add", "remove"}), ("pvc vm info vm0", {"vm00000", "vm00001"}),
     ("pvc node info hv", {"hv1", "hv2"}), ("pvc node info zz", set()), ("pvc -c lo", {"local"}),
     ("pvc vm volume add vm00000 vms/vm", {"vms/vm00000_sda", "vms/vm00000_sdb"}),
     ("pvc vm tag remove vm00001 ", {"tag0"})],
)  # fmt: skip
def test_completion(api_url: str, words: str, offered: set[str]) -> None:
    environ = {
        **os.environ,
        "_PVC_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "PVC_API_URL": api_url,
    }
    code = "from pvc_cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert {line.partition(",")[2] for line in done.stdout.splitlines() if line} == offered
    assert done.stderr == ""


def options_of(command: click.Command) -> set[str]:
    return {
        word
        for param in command.params
        if isinstance(param, click.Option)
        for word in (*param.opts, *param.secondary_opts)
    }


@pytest.mark.parametrize("line", (HERE / "tree-1.0.txt").read_text().splitlines())
def test_every_command_of_pvc_1_0_with_its_options_is_there(line: str) -> None:
    words, _, wanted = line.partition(":")
    command: click.Command = cli
    context = click.Context(cli)
    for word in words.split():
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found is not None, f"{words}: no {word}"
        command = found
    if is_pending(command):
        assert "Not there yet" in (command.help or "")
    else:
        assert set(wanted.split()) <= options_of(command)


def is_pending(command: click.Command) -> bool:
    return bool(command.context_settings.get("ignore_unknown_options"))


def test_what_is_not_there_yet_says_so_whatever_it_is_given(pvc: Any, api: Any) -> None:
    pending = [(name, one) for name, one in walk(cli, "pvc") if is_pending(one)]
    assert "pvc vm snapshot create" in dict(pending) and "pvc provisioner template storage disk add" in dict(pending)
    for name, _ in pending:
        result = pvc(*name.split()[1:], "web1", "-y", "--no-wait", "-u", "4", "--size=3G")
        assert (result.code, result.out) == (1, ""), name
        assert f"{name} is not there yet in this version of PVC." in result.err
    assert api.requests == []


def walk(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return [(name, command)]
    context = click.Context(command)
    found = [(word, command.get_command(context, word)) for word in command.list_commands(context)]
    return [pair for word, one in found if one for pair in walk(one, f"{name} {word}")]


@pytest.mark.parametrize(("name", "command"), [pytest.param(*pair, id=pair[0]) for pair in walk(cli, "pvc")])
def test_every_command_explains_itself(name: str, command: click.Command) -> None:
    assert command.help, name
    for param in command.params:
        assert not isinstance(param, click.Option) or param.help, f"{name} {param.opts}"
    seen = [word for param in command.params if isinstance(param, click.Option) for word in param.opts]
    assert len(seen) == len(set(seen)), f"{name}: an option twice"

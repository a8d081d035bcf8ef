"""The manuals: each command they show exists with its options, each link leads somewhere, and Sphinx builds them
without a warning.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pvc_cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("decisions/*.md"), *DOCS.glob("contracts/*.md"), ROOT / "README.md"])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def shown_commands(text: str) -> list[str]:
    """Every `pvc ...` between backticks, in an indented or fenced block, also behind a prompt."""
    inline = re.findall(r"`(pvc [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL).replace("\n", " "))
    lines = [line for block in re.findall(r"```(?:text|sh|)\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    lines += [line[4:] for line in text.splitlines() if line.startswith("    ")]
    prompt = r"^(?:[a-z0-9]+)?[#$]? ?(?:script/lab )?(pvc .*)$"
    return inline + [found.group(1) for line in lines if (found := re.match(prompt, line.strip()))]


def wrong_with(command: str) -> str:
    """ "" when there is such a command with such options."""
    words = shlex.split(re.split(r"&&|\|\||[;|>#]|  ", command.partition("(")[0])[0].replace("...", ""), posix=True)
    here: click.Command = cli
    ctx = click.Context(cli, info_name="pvc")
    options = _options(cli)
    for word in words[1:]:
        name = word.partition("=")[0]
        if name.startswith("-"):
            bundled = re.fullmatch(r"-[a-z]+", name) and all(f"-{one}" in options for one in name[1:])
            if name not in options and not bundled:
                return f"{ctx.command_path} has no {name}"
        elif isinstance(here, click.Group):
            below = here.get_command(ctx, word)
            if below is None:
                if word in ARGUMENTS or words[words.index(word) - 1].startswith("-"):
                    continue
                return "" if "|" in word or word.isupper() else f"there is no {ctx.command_path} {word}"
            here, ctx = below, click.Context(below, info_name=word, parent=ctx)
            options |= _options(below)
    return ""


ARGUMENTS = {"demo"}
"""What `script/lab pvc --name demo` takes away."""


def _options(command: click.Command) -> set[str]:
    told = [one for one in command.params if isinstance(one, click.Option)]
    return {word for one in told for word in (*one.opts, *one.secondary_opts)} | {"-h", "--help", "--name"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_exists(page: Path) -> None:
    found = {command: wrong for command in shown_commands(page.read_text()) if (wrong := wrong_with(command))}
    assert found == {}


def test_the_judge_of_commands_can_say_no() -> None:
    assert wrong_with("pvc vm list") == "" and wrong_with("pvc -q vm shutdown web1 --wait") == ""
    assert "dance" in wrong_with("pvc vm dance web1")
    assert "--sideways" in wrong_with("pvc vm start web1 --sideways")
    assert shown_commands("see `pvc vm dance`\n\n    pvc vm list\n") == ["pvc vm dance", "pvc vm list"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for target in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            lost.append(target)
    assert lost == []


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_page_is_in_the_manual() -> None:
    index = (DOCS / "manual" / "index.md").read_text().split()
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in PAGES if page.is_relative_to(DOCS)}
    assert pages - set(index) == set()


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """As script/docs does it."""
    source, html = tmp_path / "source", tmp_path / "html"
    subprocess.run([sys.executable, "docs/manual/stage.py", source], cwd=ROOT, check=True)
    built = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", source, html]
    done = subprocess.run(built, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    api, commands = (html / "api-reference.html").read_text(), (html / "cli-reference.html").read_text()
    assert "POST /vm/{vm}/state" in api and "node_selector" in api
    assert 'id="pvc-vm-migrate"' in commands and "--force-live" in commands
    settings = (html / "config-reference.html").read_text()
    assert "plugins.api_falcon" in settings and "body_limit" in settings and "intervals.heartbeat_s" in settings
    for page in html.rglob("*.html"):
        loaded = re.findall(r'(?:src|href)="(https?://[^"]+)"[^>]*(?:stylesheet|script)', page.read_text())
        assert loaded == [], f"{page.name} loads something from elsewhere"

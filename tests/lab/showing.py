"""Every command of `pvc` that shows something in several formats, found in its own tree, with arguments that are so."""

from __future__ import annotations

import click

from pvc_cli.main import cli

NOT_ASKED = {
    "cluster events": "it does not end",
    "network sriov vf info": "no NIC of a lab has virtual functions",
    "storage benchmark info": "nothing was measured",
    "storage benchmark list": "nothing was measured",
    "task info": "a lab at rest has no task to show",
    "storage volume upload": "its -f is the image's",
}

MAY_SAY_NO = ("cluster check", "node fence-test")
"""They end with 1 when what they look at is not well."""


def arguments(vm: str, node: str, net: str) -> dict[str, list[str]]:
    """By the words of the command, or their first ones."""
    return {
        "vm list": [], "vm": [vm], "node list": [], "node": [node], "network list": [], "network": [net],
        "network sriov": [node], "plugin info": ["compute_libvirt"], "storage pool info": ["vms"],
        "cluster rebalance": ["--dry-run"],
    }  # fmt: skip


def commands() -> list[tuple[str, list[str]]]:
    """(words, formats)."""
    return [(words, formats) for words, formats in _walk(cli, "") if formats and words not in NOT_ASKED]


def given(words: str, known: dict[str, list[str]]) -> list[str]:
    found = max((one for one in known if words == one or words.startswith(f"{one} ")), key=len, default="")
    return known.get(found, [])


def _walk(command: click.Command, words: str) -> list[tuple[str, list[str]]]:
    if not isinstance(command, click.Group):
        choices = [one.type for one in command.params if "--format" in one.opts or "-f" in one.opts]
        return [(words, [str(name) for one in choices if isinstance(one, click.Choice) for name in one.choices])]
    context = click.Context(command)
    found = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [pair for name, one in found if one for pair in _walk(one, f"{words} {name}".strip())]

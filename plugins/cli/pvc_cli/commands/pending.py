"""Commands of PVC 1.0 that this version has not yet: they are where they were, take what they took, and say so.

The API answers 501 at their paths. A command moves out of here when it is written.
"""

from __future__ import annotations

from collections.abc import Mapping

import click

from pvc_cli.errors import CliError

Tree = Mapping[str, "str | Tree"]
"""Name -> what it will do; or a group's commands."""

ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True}

SNAPSHOT: Tree = {
    "create": "Take a snapshot of a VM's volumes and definition.",
    "remove": "Remove a snapshot of a VM.",
    "rollback": "Put a VM back to a snapshot.",
    "export": "Write a snapshot of a VM into a directory.",
    "import": "Read a VM back from an exported snapshot.",
    "send": "Send a snapshot of a VM to another cluster.",
}
MIRROR: Tree = {
    "create": "Send a VM to another cluster, and again what changed since.",
    "promote": "Make a mirrored VM the one that runs.",
}
BACKUP: Tree = {
    "create": "Write a backup of a VM.",
    "restore": "Read a VM back from a backup.",
    "remove": "Remove a backup of a VM.",
}
KEPT: Tree = {"add": "Add one.", "modify": "Change one.", "remove": "Remove one.", "list": "List them."}
TEXTS: Tree = {**KEPT, "show": "Show one."}
TEMPLATE: Tree = {
    "system": KEPT,
    "network": {
        "add": "Add one.",
        "remove": "Remove one.",
        "list": "List them.",
        "vni": {"add": "Add a network to a template.", "remove": "Remove a network from a template."},
    },
    "storage": {
        "add": "Add one.",
        "remove": "Remove one.",
        "list": "List them.",
        "disk": {"add": "Add a disk to a template.", "remove": "Remove a disk from a template."},
    },
}
PROVISIONER: Tree = {
    "template": TEMPLATE,
    "userdata": TEXTS,
    "script": TEXTS,
    "ova": {"upload": "Upload an OVA image.", "remove": "Remove one.", "list": "List them."},
    "profile": KEPT,
    "create": "Make a VM from a profile.",
}


def later(words: str, what: str | Tree) -> click.Command:
    """The command `pvc WORDS`, or the group of them."""
    name = words.rpartition(" ")[2]
    if isinstance(what, str):
        return _command(words, name, what)
    group = click.Group(name, help="Not there yet in this version.")
    for one, its in what.items():
        group.add_command(later(f"{words} {one}", its))
    return group


def _command(words: str, name: str, what: str) -> click.Command:
    def say() -> None:
        raise CliError(
            f"pvc {words} is not there yet in this version of PVC.",
            help="it comes with a later version; nothing was done",
        )

    return click.Command(
        name,
        callback=say,
        help=f"{what} (Not there yet in this version.)",
        context_settings=ANYTHING,
        add_help_option=True,
    )


snapshot = later("vm snapshot", SNAPSHOT)
mirror = later("vm mirror", MIRROR)
backup = later("vm backup", BACKUP)
autobackup = later("vm autobackup", "Back up the VMs with certain tags, as configured.")
automirror = later("vm automirror", "Mirror the VMs with certain tags, as configured.")
provisioner = later("provisioner", PROVISIONER)

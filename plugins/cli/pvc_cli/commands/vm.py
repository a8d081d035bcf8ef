"""`pvc vm`: the group; its commands are in vm_*.py, by what they are about."""

from __future__ import annotations

import click

from pvc_cli.lazy import LazyGroup

HERE = "pvc_cli.commands"

COMMANDS = {
    "define": (f"{HERE}.vm_define:define", "Define a new VM from a file with its libvirt XML."),
    "meta": (f"{HERE}.vm_define:meta", "Change where and how a VM runs: nodes, autostart, migration."),
    "modify": (f"{HERE}.vm_define:modify", "Change a VM's definition in an editor or from a file."),
    "rename": (f"{HERE}.vm_define:rename", "Rename a VM and its volumes."),
    "undefine": (f"{HERE}.vm_define:undefine", "Stop and forget a VM; its volumes stay."),
    "remove": (f"{HERE}.vm_define:remove", "Stop and forget a VM and delete its volumes."),
    "start": (f"{HERE}.vm_power:start", "Start a VM."),
    "restart": (f"{HERE}.vm_power:restart", "Shut a VM down and start it again."),
    "shutdown": (f"{HERE}.vm_power:shutdown", "Ask a VM's guest to shut down."),
    "stop": (f"{HERE}.vm_power:stop", "Stop a VM at once, as if its power were cut."),
    "disable": (f"{HERE}.vm_power:disable", "Shut a VM down and keep it from being started automatically."),
    "move": (f"{HERE}.vm_move:move", "Move a VM to another node for good."),
    "migrate": (f"{HERE}.vm_move:migrate", "Move a VM to another node for a while."),
    "unmigrate": (f"{HERE}.vm_move:unmigrate", "Bring a migrated VM back."),
    "flush-locks": (f"{HERE}.vm_move:flush_locks", "Remove stale locks from a VM's volumes."),
    "tag": (f"{HERE}.vm_tag:tag", "Tags of a VM."),
    "vcpu": (f"{HERE}.vm_size:vcpu", "Virtual CPUs of a VM."),
    "memory": (f"{HERE}.vm_size:memory", "Memory of a VM."),
    "network": (f"{HERE}.vm_network:network", "Network cards of a VM."),
    "volume": (f"{HERE}.vm_volume:volume", "Disks of a VM."),
    "console": (f"{HERE}.vm_line:console", "Sit at a VM's serial console."),
    "vnc": (f"{HERE}.vm_line:vnc", "Open a local port to a VM's screen, and a viewer."),
    "log": (f"{HERE}.vm_show:log", "Show the console of a VM."),
    "dump": (f"{HERE}.vm_show:dump", "Print a VM's definition exactly as it was given."),
    "info": (f"{HERE}.vm_show:info", "Show one VM."),
    "list": (f"{HERE}.vm_show:list_vms", "List VMs."),
    "snapshot": (f"{HERE}.pending:snapshot", "Snapshots of whole VMs (not there yet)."),
    "mirror": (f"{HERE}.pending:mirror", "VMs mirrored to another cluster (not there yet)."),
    "backup": (f"{HERE}.pending:backup", "Backups of VMs (not there yet)."),
    "autobackup": (f"{HERE}.pending:autobackup", "Backups as configured (not there yet)."),
    "automirror": (f"{HERE}.pending:automirror", "Mirrors as configured (not there yet)."),
    "why": (f"{HERE}.vm_show:why", "Say what the cluster is doing about a VM, and why."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def vm() -> None:
    """Virtual machines. DOMAIN is a VM's name or UUID."""

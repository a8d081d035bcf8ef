"""What the commands about one VM share."""

from __future__ import annotations

from typing import Any

import click

from pvc_cli.complete import names

SELECTORS = ("mem", "memprov", "load", "vcpus", "vms", "none")
METHODS = ("none", "live", "shutdown")


def domain_argument(command: Any) -> Any:
    return click.argument("domain", shell_complete=names("/vm"))(command)

# SPDX-License-Identifier: LGPL-3.0-or-later
"""What only one driver can do: a named call with a schema, run as a task at POST /plugin/NAME/ACTION."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from marshmallow import Schema

Progress = Callable[[int, int, str], None]
"""progress(current, total, sentence): may be called at any rate; what it says is shown, nothing depends on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """`where` is "node" (the caller names one) or "primary".

    The driver half answers it in `Drivers.actions[name]`: called from a worker thread with the loaded arguments and a
    Progress; must be idempotent, because it is called again after a crash; returns plain data for the task's result, in
    which `message` may be the sentence that tells its end.
    """

    name: str
    help: str
    where: Literal["node", "primary"]
    schema: type[Schema]
    deadline_s: float = 60.0


ActionCall = Callable[[Mapping[str, object], Progress], dict[str, object]]

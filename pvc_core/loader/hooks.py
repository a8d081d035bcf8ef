"""Calls the hooks of pvc_core/hookspecs.py, one plugin at a time, so that none can stop another or the core.

pluggy carries them; it does not isolate (the first implementation that raises stops the rest), hence
`subset_hook_caller` for each plugin alone. What the three families mean stands in hookspecs.py; who calls which hook
is reconcile's and services'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pluggy

from pvc_core.clock import Clock
from pvc_core.errors import Permanent, Refused
from pvc_core.hookspecs import Hooks as Specs
from pvc_core.loader.discover import last_line
from pvc_core.loader.isolation import Answer, Asking, Call, Lane, inline
from pvc_core.loader.results import RESULTS
from pvc_core.loader.signatures import hook_arguments, hook_faults
from pvc_core.loader.troubles import DELTA, Report, Troubles
from pvc_core.model.node import HealthSeen

LIMIT_S = 2.0
"""How long a check or collect waits for a plugin."""
PATIENCE = {"pvc_collect_check": 4.0}
"""So many times that long: a person waits for it, and it may look at other nodes."""
SLOW_S = 30.0
"""A notification out for longer than this shows in health."""


class Hooks:
    """The hook implementations of one process: by plugin, the object that `Drivers.hooks` or `definition_hooks()` gave.

    `report` hears when a plugin's hooks begin to fail and when all work again. `inline` calls everything on the
    caller's thread, for the simulator. Raises Permanent for an object whose hooks could not be called.
    """

    def __init__(
        self,
        implementations: Mapping[str, object],
        *,
        clock: Clock,
        log: Any,
        report: Report | None = None,
        inline: bool = False,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._log = log
        self._inline = inline
        self._limit_s = limit_s
        self._troubles = Troubles(clock, log, report)
        self._asking = Asking(clock)
        self._arguments = hook_arguments()
        self._calls = _callers(implementations, self._arguments)
        self._lanes = {plugin: Lane(plugin, clock) for plugin in implementations}

    def notify(self, hook: str, /, *, key: str = "", **args: object) -> None:
        """Tell every plugin that something has become true of the object `key`. Returns at once.

        Nothing that a plugin raises comes out of it. One plugin hears everything in the order it was told, each at
        most once.
        """
        for plugin, call in self._bound(hook, args).items():
            told = partial(self._told, plugin, hook, key, call)
            if self._inline:
                told()
            elif not self._lanes[plugin].put(f"{hook} {key}".strip(), told):
                self._troubles.failed(plugin, hook, "too many notifications wait for this plugin; some were dropped")

    def check(self, hook: str, /, **args: object) -> None:
        """Ask every plugin for objections.

        Raises one Refused with all reasons. A plugin that fails has no objection.
        """
        refusals: list[tuple[str, Refused]] = []
        for plugin, answer in self._ask(hook, args).items():
            if isinstance(answer.error, Refused):
                refusals.append((plugin, answer.error))
                self._troubles.worked(plugin, hook)
            elif not self._failed(plugin, hook, answer) and answer.value is not None:
                told = f"returned {type(answer.value).__name__}; it must raise Refused to object, or return nothing"
                self._troubles.failed(plugin, hook, told)
        if refusals:
            reasons = "; ".join(f"{plugin}: {refused.message}" for plugin, refused in refusals)
            raise Refused(reasons, help="; ".join(refused.help for _, refused in refusals if refused.help))

    def collect(self, hook: str, /, **args: object) -> dict[str, Any]:
        """What every plugin has to say, by plugin; one that fails, is late or answers nonsense is left out."""
        found = {}
        for plugin, answer in self._ask(hook, args, RESULTS.get(hook)).items():
            if not self._failed(plugin, hook, answer):
                found[plugin] = answer.value
        return found

    def health(self) -> tuple[HealthSeen, ...]:
        """Failing hooks, and notifications that a plugin does not come back from."""
        slow = [
            HealthSeen(plugin=plugin, delta=DELTA, message=f"hook {now[0]}: has not come back for {now[1]:.0f} s")
            for plugin, lane in self._lanes.items()
            if (now := lane.running()) and now[1] > SLOW_S
        ]
        return (*self._troubles.health(), *slow)

    def close(self, deadline_s: float) -> None:
        """Let what was notified be told, and end. A plugin that hangs is left behind after `deadline_s` seconds."""
        for plugin, lane in self._lanes.items():
            if not lane.close(deadline_s):
                self._log.warning("notifications were not all told", plugin=plugin)

    def _bound(self, hook: str, args: dict[str, object]) -> dict[str, Call]:
        wanted = self._arguments[hook]
        if set(args) != set(wanted):
            raise TypeError(f"{hook} is called with {sorted(args)}, specified is {hook}({', '.join(wanted)})")
        return {plugin: partial(_first, call, args) for plugin, call in self._calls[hook].items()}

    def _told(self, plugin: str, hook: str, key: str, call: Call) -> None:
        answer = inline(call)
        if answer.error is None:
            self._troubles.worked(plugin, hook)
        else:
            about = f" about {key}" if key else ""
            self._troubles.failed(plugin, hook, f"raised {last_line(answer.error)}{about}")

    def _ask(
        self, hook: str, args: dict[str, object], shape: Callable[[str, Any], object] | None = None
    ) -> dict[str, Answer]:
        calls = self._bound(hook, args)
        if shape is not None:
            calls = {plugin: partial(_shaped, shape, plugin, call) for plugin, call in calls.items()}
        ask = self._asking.ask_inline if self._inline else self._asking.ask
        return ask(calls, self._limit_of(hook)) if calls else {}

    def _limit_of(self, hook: str) -> float:
        return self._limit_s * PATIENCE.get(hook, 1.0)

    def implementing(self, hook: str) -> frozenset[str]:
        """The plugins that have something to say to `hook`."""
        return frozenset(self._calls[hook])

    def _failed(self, plugin: str, hook: str, answer: Answer) -> bool:
        """Note how it went."""
        if (
            answer.late_s is not None and hook in PATIENCE
        ):  # who asked is told; in health it would stay until asked again
            self._log.warning("hook gave no answer in time", plugin=plugin, hook=hook, limit_s=self._limit_of(hook))
        elif answer.late_s is not None:
            self._troubles.failed(plugin, hook, f"gave no answer within {self._limit_of(hook):g} s")
        elif answer.error is not None:
            self._troubles.failed(plugin, hook, f"raised {last_line(answer.error)}")
        else:
            self._troubles.worked(plugin, hook)
            return False
        return True


def _callers(
    implementations: Mapping[str, object], hooks: Mapping[str, object]
) -> dict[str, dict[str, Callable[..., list[object]]]]:
    """By hook, then by plugin: a call of that plugin's implementation alone. Plugins without one are left out."""
    manager = pluggy.PluginManager("pvc")
    manager.add_hookspecs(Specs)
    for plugin, implementation in implementations.items():
        faults = list(hook_faults(implementation))
        if faults:
            raise Permanent(
                f"the hooks of plugin {plugin} cannot be called: {'; '.join(faults)}", help="tell its author"
            )
        manager.register(implementation, name=plugin)
    manager.check_pending()
    return {hook: _alone(manager, hook) for hook in hooks}


def _alone(manager: pluggy.PluginManager, hook: str) -> dict[str, Callable[..., list[object]]]:
    """pluggy calls the last registered first; we keep the order in which plugins were given."""
    order = [name for name, _ in manager.list_name_plugin()]
    implementing = {each.plugin_name for each in getattr(manager.hook, hook).get_hookimpls()}
    callers: dict[str, Callable[..., list[object]]] = {}
    for name in order:
        if name in implementing:
            others = [plugin for other, plugin in manager.list_name_plugin() if other != name]
            callers[name] = manager.subset_hook_caller(hook, others)
    return callers


def _first(call: Callable[..., list[object]], args: dict[str, object]) -> object:
    """pluggy gives the list of all answers that are not None: of one plugin, one or none."""
    return next(iter(call(**args)), None)


def _shaped(shape: Callable[[str, Any], object], plugin: str, call: Call) -> object:
    return shape(plugin, call())

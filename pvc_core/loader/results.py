"""What a collect hook may answer. Runs inside the isolated call: a lazy answer that fails, fails there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pvc_core.model.check import CheckLine
from pvc_core.model.node import HealthSeen

Sample = tuple[str, dict[str, str], float]


def health(plugin: str, answer: Iterable[HealthSeen] | None) -> tuple[HealthSeen, ...]:
    """Findings in the plugin's own name, each costing 0 to 100 points. Raises TypeError for anything else."""
    return tuple(_finding(plugin, each) for each in answer or ())


def checks(plugin: str, answer: Iterable[CheckLine] | None) -> tuple[CheckLine, ...]:
    """Lines that say what they found and, where it is not well, what helps. Raises TypeError for anything else."""
    return tuple(_line(plugin, each) for each in answer or ())


def metrics(plugin: str, answer: Iterable[Sample] | None) -> tuple[Sample, ...]:
    """Samples below the plugin's own prefix. Raises TypeError or ValueError for anything else."""
    return tuple(_sample(plugin, each) for each in answer or ())


RESULTS: Mapping[str, Callable[[str, Any], object]] = {
    "pvc_collect_check": checks,
    "pvc_collect_health": health,
    "pvc_collect_metrics": metrics,
}


def _finding(plugin: str, each: object) -> HealthSeen:
    if not isinstance(each, HealthSeen):
        raise TypeError(f"a {type(each).__name__} where a HealthSeen is due")
    return dataclasses.replace(each, plugin=plugin, delta=min(100, max(0, int(each.delta))), message=str(each.message))


def _line(plugin: str, each: object) -> CheckLine:
    if not isinstance(each, CheckLine):
        raise TypeError(f"a {type(each).__name__} where a CheckLine is due")
    remedy = each.remedy or ("" if each.ok else f"see the documentation of plugin {plugin}")
    return dataclasses.replace(each, topic=str(each.topic) or plugin, text=str(each.text), remedy=str(remedy))


def _sample(plugin: str, each: Sample) -> Sample:
    if not isinstance(each, tuple) or len(each) != 3 or not isinstance(each[1], dict):
        raise TypeError("a sample is (name, labels, value)")
    name, labels, value = each
    if not isinstance(name, str) or not name.startswith(f"pvc_{plugin}_"):
        raise ValueError(f"the sample {name!r}; names begin with pvc_{plugin}_")
    return name, {str(key): str(label) for key, label in labels.items()}, float(value)

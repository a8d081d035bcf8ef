# SPDX-License-Identifier: LGPL-3.0-or-later
"""Sums up conformance suites at the end of a pytest run: one line per capability and driver. pytest loads it itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

_PROPERTY = "pvc_capability"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "pvc_capability(name): a conformance question, and the capability it is about")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("pvc_capability"):
            # A property travels with the report, also from the workers of pytest-xdist.
            item.user_properties.append((_PROPERTY, str(mark.args[0])))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    suites = _counted(terminalreporter.stats)
    for suite, capabilities in sorted(suites.items()):
        terminalreporter.write_sep("-", f"conformance of {suite}")
        for capability, outcomes in sorted(capabilities.items()):
            terminalreporter.write_line(f"{capability:20} {_verdict(outcomes)}")


def _counted(stats: dict[str, list[Any]]) -> dict[str, dict[str, Counter[str]]]:
    """How often each outcome, by suite (the test class) and capability."""
    suites: dict[str, dict[str, Counter[str]]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", ()):
                if name == _PROPERTY:
                    suite = "::".join(report.nodeid.split("::")[:-1])
                    suites.setdefault(suite, {}).setdefault(value, Counter())[outcome] += 1
    return suites


def _verdict(outcomes: Counter[str]) -> str:
    failed = outcomes["failed"] + outcomes["error"]
    if failed:
        return f"BROKEN: {failed} of {failed + outcomes['passed']} questions failed"
    if not outcomes["passed"]:
        return "not asked"
    left_out = f", {outcomes['skipped']} not asked" if outcomes["skipped"] else ""
    return f"ok, {outcomes['passed']} questions{left_out}"

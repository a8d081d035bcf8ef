"""Section `fencing` of pvc.yaml: what may be a rung."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvc_core.config import ConfigError
from pvc_core.loader import load_all


def loaded(tmp_path: Path, fencing: str, more: str = "") -> list[str]:
    """Every fault, in words."""
    file = tmp_path / "pvc.yaml"
    file.write_text(
        "cluster: {name: c1, coordinators: [hv1]}\nstore: {embedded: {}}\n"
        f"plugins:\n  storage_dir: {{path: {tmp_path}}}\n  fence_ipmi: {{{more}}}\nfencing: {fencing}\n"
    )
    try:
        load_all(file, node="hv1")
    except ConfigError as error:
        return [str(fault) for fault in error.faults]
    return []


@pytest.mark.parametrize("fencing", ["{ladder: [fence_ipmi], proof: all}", "{ladder: []}", "{}"])
def test_a_good_ladder(tmp_path: Path, fencing: str) -> None:
    assert loaded(tmp_path, fencing) == []


@pytest.mark.parametrize(
    ("fencing", "said"),
    [
        ("{ladder: [storage_dir]}", 'found "storage_dir", which cannot fence; a plugin with a fence driver'),
        ("{ladder: [fence_ipm]}", 'did you mean "fence_ipmi"'),
        ("{ladder: [fence_ipmi, fence_ipmi]}", "a second time; name every rung once"),
        ("{ladder: fence_ipmi}", "fencing.ladder"),
        ("{ladder: [fence_ipmi], proof: both}", '"one", "all"'),
    ],
)
def test_a_bad_ladder_is_told_in_words(tmp_path: Path, fencing: str, said: str) -> None:
    (fault,) = loaded(tmp_path, fencing)
    assert said in fault and ":6:" in fault


def test_half_a_bmc_is_told_in_words(tmp_path: Path) -> None:
    faults = loaded(tmp_path, "{ladder: [fence_ipmi]}", "address: 10.9.0.1")
    assert len(faults) == 2 and "plugins.fence_ipmi.user" in faults[1] + faults[0]

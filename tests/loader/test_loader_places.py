"""Places below paths.run: those of our plugins move with it, and the guard gives permits where they are sought."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvc_core.guard.settings import read_settings
from pvc_core.loader import load_all
from pvc_core.loader.discover import discover
from pvc_core.schema.allowed import fields_by_key

FILE = """
cluster: {name: c1, coordinators: [hv1]}
store: {embedded: {}}
paths: {run: /run/elsewhere}
plugins: {compute_libvirt: {}, storage_ceph: {}, storage_dir: {}, api_falcon: {}, net_evpn: {}, fence_ipmi: {}}
use: {compute: compute_libvirt}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "pvc.yaml"
    made.write_text(FILE)
    return made


def test_what_lies_below_run_moves_with_it(file: Path) -> None:
    _, loaded = load_all(file, node="hv1")
    places = {}
    for name, plugin in loaded.plugins.items():
        for key, field in fields_by_key(plugin.config_schema()).items():
            if str(field.load_default).startswith("/run/pvc/"):
                places[f"{name}.{key}"] = plugin.config[key]
    assert len(places) == 3
    assert all(place.startswith("/run/elsewhere/") for place in places.values()), places
    assert places["compute_libvirt.permits_dir"] == str(_run_of_guard(file) / "permits")


def _run_of_guard(file: Path) -> Path:
    return read_settings(file, node="hv1", state=Path("/nowhere"))[0].run


def test_a_place_that_is_given_stays(file: Path) -> None:
    file.write_text(FILE.replace("api_falcon: {}", "api_falcon: {socket: /srv/api.sock}"))
    _, loaded = load_all(file, node="hv1")
    assert loaded.plugins["api_falcon"].config["socket"] == "/srv/api.sock"


def test_no_plugin_of_ours_hides_a_place_there() -> None:
    """A setting that only looks like one below paths.run would not move."""
    found = discover(["api_falcon", "compute_libvirt", "net_evpn", "net_sriov", "net_vlan", "storage_ceph"]).found
    for name, one in found.items():
        for key, field in fields_by_key(getattr(one.target, "config_schema")()).items():  # noqa: B009
            if str(field.load_default).startswith("/run/pvc"):
                assert field.metadata.get("below_run"), f"{name}.{key}"

"""What the keys of pvc.yaml must be, alone and together; and that one run tells of all of it, sorted by line."""

from __future__ import annotations

import socket
from dataclasses import replace
from importlib.metadata import entry_points
from ipaddress import ip_interface
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvc_core import config_file
from pvc_core.config import EmbeddedStore, Intervals, LastGood, Paths, ZookeeperStore, check, load, read
from pvc_core.errors import Permanent
from pvc_core.loader import load_all
from pvc_core.schema.intervals import CLOCK_RATE_ERROR, FREEZE_S, GAP_S, MARGIN_S, STORAGE_PROOF_S

EXAMPLE = Path(__file__).parents[2] / "docs" / "pvc.yaml"

BAD = """\
cluster:
  nmae: c1
  coordinators: [hv1, hv2]
store: {embedded: {port: "2181"}, zookeeper: {}}
host_networks:
  upstrem: {device: eth0}
  upstream: {device: eth0, address: 10.0.0.0/24, mtu: 20}
  storage: {device: a-very-long-device-name, address: 10.2.0.1/24, floating: 10.3.0.1/24, gateway: 10.2.0.1}
plugins:
  storage_dir: 7
  "../x": {}
use:
  compute: compute_libvirt
  default_pool: {name: "a b", driver: storage_dri}
  networks: {managed: net_evpn}
fencing: {ladder: [fence_ipmi], proof: none}
intervals: {heartbeat_s: 2, self_fence_s: 20}
apii: {}
paths: {state: relative/path}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pvc.yaml"
    path.write_text(text)
    return path


def minimal(tmp_path: Path, more: str = "", *, coordinators: str = "[hv1]", store: str = "{embedded: {}}") -> Path:
    return write(
        tmp_path, f"cluster: {{name: c1, coordinators: {coordinators}}}\nstore: {store}\nplugins: {{}}\n{more}"
    )


def test_the_example_loads() -> None:
    config = load(EXAMPLE, node="hv1")
    assert config.coordinator
    assert config.store == EmbeddedStore(port=2181, path=Path("/var/lib/pvc/store"))
    assert list(config.plugins) == ["compute_libvirt", "storage_dir", "api_falcon"]
    assert config.use.default_pool is not None and config.use.default_pool.name == "vms"
    assert (config.intervals, config.paths) == (Intervals(), Paths())


def test_the_example_loads_with_its_commented_keys_switched_on(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    for key in ("host_networks:", "  upstream:", "  cluster:", "  storage:", "intervals:", "paths:"):
        assert f"# {key}" in text
        text = text.replace(f"# {key}", key)
    config = load(write(tmp_path, text), node="hv1")
    assert set(config.host_networks) == {"upstream", "cluster", "storage"}
    assert (config.intervals, config.paths) == (Intervals(), Paths())


def test_the_plugins_of_the_example_load_as_well() -> None:
    wanted = set(load(EXAMPLE, node="hv1").plugins)
    missing = wanted - set(entry_points(group="pvc.plugins").names)
    if missing:
        pytest.skip(f"not installed: {', '.join(sorted(missing))} (script/setup installs them)")
    config, loaded = load_all(EXAMPLE, node="hv1")
    assert loaded.compute is loaded.plugins["compute_libvirt"]
    assert config.use.default_pool is not None and config.use.default_pool.driver in loaded.storage


def test_all_faults_are_told_at_once_each_at_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, BAD)
    found = {(fault.line, fault.key): fault.message for fault in check(path, node="hv1")}
    expected = {
        (1, "cluster.name"): "found nothing; this key must be here: a name of letters",
        (2, "cluster.nmae"): 'unknown key; did you mean "name"? allowed here: name, coordinators',
        (3, "cluster.coordinators"): "an even number of coordinators is refused: a majority must be left",
        (4, "store"): "found both embedded and zookeeper; exactly one of them is allowed",
        (4, "store.embedded.port"): 'found "2181"; a whole number between 1 and 65535 is allowed',
        (6, "host_networks.upstrem"): 'unknown key; did you mean "upstream"?',
        (7, "host_networks.upstream.address"): 'found "10.0.0.0/24"; a host\'s address with its prefix',
        (7, "host_networks.upstream.mtu"): "found 20; a whole number of bytes between 576 and 9216 is allowed",
        (8, "host_networks.storage.device"): "(at most 15 characters) is allowed",
        (
            8,
            "host_networks.storage.floating",
        ): 'found "10.3.0.1/24"; an address in 10.2.0.0/24, the network of `address`',
        (8, "host_networks.storage.gateway"): "an address of its own is needed; this one is the node's",
        (10, "plugins.storage_dir"): "found 7; a mapping with the plugin's settings",
        (11, 'plugins."../x"'): "small letters, digits and '_'",
        (13, "use.compute"): 'found "compute_libvirt"; one of the plugins listed below `plugins` is allowed',
        (14, "use.default_pool.name"): 'found "a b"; a name of letters',
        (14, "use.default_pool.driver"): 'found "storage_dri"; did you mean "storage_dir"?',
        (15, "use.networks.managed"): 'found "net_evpn"; one of the plugins listed',
        (16, "fencing.ladder.0"): 'found "fence_ipmi"; one of the plugins listed',
        (16, "fencing.proof"): 'found "none"; one of "one", "all" is allowed',
        (17, "intervals.suspicion_s"): "suspicion_s must be at least 4 x heartbeat_s = 8",
        (17, "intervals.self_fence_s"): "must be at most 10 s",
        (17, "intervals.promise_s"): "promise_s must be at least 2 x heartbeat_s = 4",
        (18, "apii"): "unknown key; ",
        (19, "paths.state"): 'found "relative/path"; an absolute path',
    }
    assert list(found) == sorted(found, key=lambda place: place[0])
    assert set(found) == set(expected)
    for place, words in expected.items():
        assert words in found[place], place


@pytest.mark.parametrize(
    ("names", "good"), [("[]", False), ("[hv1]", True), ("[hv1, hv2, hv3]", True), ("[a, b, c, d, e, f, g]", False)]
)
def test_the_number_of_coordinators(tmp_path: Path, names: str, good: bool) -> None:
    assert (not check(minimal(tmp_path, coordinators=names, store="{zookeeper: {}}"), node="hv1")) == good


def test_a_coordinator_named_twice_does_not_make_a_majority(tmp_path: Path) -> None:
    (fault,) = check(minimal(tmp_path, coordinators="[hv1, hv2, hv1]", store="{zookeeper: {}}"), node="hv1")
    assert fault.key == "cluster.coordinators.2"


def test_the_embedded_store_is_for_one_node(tmp_path: Path) -> None:
    (fault,) = check(minimal(tmp_path, coordinators="[hv1, hv2, hv3]"), node="hv1")
    assert "the embedded store with 3 coordinators; the embedded store is for one node" in fault.message
    (fault,) = check(minimal(tmp_path), node="other")
    assert 'found "hv1" while this node is called "other"' in fault.message
    config = load(minimal(tmp_path, coordinators="[hv1, hv2, hv3]", store="{zookeeper: {}}"), node="hv9")
    assert config.store == ZookeeperStore(port=2181) and not config.coordinator


@pytest.mark.parametrize("store", ["{}", "{embedded: {}, zookeeper: {}}"])
def test_exactly_one_store(tmp_path: Path, store: str) -> None:
    (fault,) = check(minimal(tmp_path, store=store), node="hv1")
    assert "exactly one of them is allowed" in fault.message


def test_the_node_is_the_hostname_or_the_argument(tmp_path: Path) -> None:
    hostname = socket.gethostname()
    assert load(minimal(tmp_path, coordinators=f"[{hostname}]")).node == hostname
    store = "{zookeeper: {}}"
    assert load(minimal(tmp_path, store=store)).node == hostname.partition(".")[0]
    assert load(minimal(tmp_path, store=store), node="hv7").node == "hv7"
    (fault,) = check(minimal(tmp_path, store=store), node="../hv7")
    assert "from --node" in fault.message


def test_host_networks_become_addresses(tmp_path: Path) -> None:
    more = (
        "host_networks: {cluster: {device: bond0.10, address: fd00::1/64, floating: fd00::2/64, gateway: fd00::ff}}\n"
    )
    network = load(minimal(tmp_path, more), node="hv1").host_networks["cluster"]
    assert network.address == ip_interface("fd00::1/64") and network.mtu is None


@given(heartbeat=st.floats(0.2, 4), suspicion=st.floats(1, 30), limit=st.floats(1, 30))
@settings(max_examples=60, deadline=None)
def test_what_loads_satisfies_the_inequalities(
    tmp_path_factory: pytest.TempPathFactory, heartbeat: float, suspicion: float, limit: float
) -> None:
    intervals = f"intervals: {{heartbeat_s: {heartbeat!r}, suspicion_s: {suspicion!r}, self_fence_s: {limit!r}}}\n"
    loads = read(minimal(tmp_path_factory.mktemp("intervals"), intervals), node="hv1").config is not None
    holds = suspicion >= 4 * heartbeat and limit >= GAP_S + 2 * heartbeat
    holds = holds and limit * (1 + CLOCK_RATE_ERROR) + FREEZE_S + MARGIN_S <= STORAGE_PROOF_S
    promise, sick = Intervals().promise_s, Intervals().sick_s
    holds = holds and 2 * heartbeat <= promise and promise * (1 + CLOCK_RATE_ERROR) <= limit - heartbeat
    assert loads == (holds and sick >= 2 * suspicion)


def test_a_profile_sets_what_is_not_given_and_keeps_the_inequalities(tmp_path: Path) -> None:
    def intervals(text: str) -> Intervals:
        return load(minimal(tmp_path, f"intervals: {{{text}}}\n"), node="hv1").intervals

    fast = Intervals(profile="fast", heartbeat_s=0.5, suspicion_s=3.0, promise_s=1.5, self_fence_s=5.0)
    assert intervals("profile: default") == Intervals()
    assert intervals("profile: fast") == fast
    assert intervals("profile: fast, suspicion_s: 4, boot_grace_s: 60") == replace(
        fast, suspicion_s=4.0, boot_grace_s=60.0
    )
    (fault,) = check(minimal(tmp_path, "intervals: {profile: fast, heartbeat_s: 1}\n"), node="hv1")[:1]
    assert "heartbeat_s" in fault.message
    (fault,) = check(minimal(tmp_path, "intervals: {profile: quick}\n"), node="hv1")
    assert fault.key == "intervals.profile" and "fast" in fault.message


@pytest.mark.parametrize(
    ("intervals", "key"),
    [
        ("heartbeat_s: 1.25", None),
        ("heartbeat_s: 1.3", "intervals.suspicion_s"),
        ("suspicion_s: 4", None),
        ("suspicion_s: 3.9", "intervals.suspicion_s"),
        ("self_fence_s: 6", None),
        ("self_fence_s: 5.9", "intervals.self_fence_s"),
        ("self_fence_s: 8.49", None),
        ("self_fence_s: 8.5", "intervals.self_fence_s"),
        ("promise_s: 2", None),
        ("promise_s: 1.9", "intervals.promise_s"),
        ("promise_s: 6.99", None),
        ("promise_s: 7", "intervals.promise_s"),
        ("sick_s: 10", None),
        ("sick_s: 9.9", "intervals.sick_s"),
    ],
)
def test_the_edges_of_the_inequalities(tmp_path: Path, intervals: str, key: str | None) -> None:
    found = [fault.key for fault in check(minimal(tmp_path, f"intervals: {{{intervals}}}\n"), node="hv1")]
    assert found == ([key] if key else [])


@pytest.mark.parametrize(
    ("intervals", "words"),
    [
        ("suspicion_s: 3", "suspicion_s 3 with heartbeat_s 1 (its default); suspicion_s must be at least 4 x heart"),
        ("promise_s: 7.5", "promise_s 7.5 with self_fence_s 8 (its default); promise_s x 1.001 must be at most"),
        ("sick_s: 6", "sick_s 6 with suspicion_s 5 (its default); sick_s must be at least 2 x suspicion_s = 10"),
        ("profile: fast, promise_s: 4.9", "promise_s 4.9 with self_fence_s 5 (of profile fast); promise_s x 1.001"),
    ],
)
def test_an_inequality_is_told_with_the_two_keys_and_the_reason(tmp_path: Path, intervals: str, words: str) -> None:
    (fault,) = check(minimal(tmp_path, f"intervals: {{{intervals}}}\n"), node="hv1")
    assert words in fault.message
    assert ", or " in fault.message


def test_paths_move_the_store(tmp_path: Path) -> None:
    config = load(minimal(tmp_path, "paths: {state: /srv/pvc}\n"), node="hv1")
    assert isinstance(config.store, EmbeddedStore) and config.store.path == Path("/srv/pvc/store")
    assert config.paths.run == Path("/run/pvc")


def test_where_the_file_is() -> None:
    assert config_file({}) == config_file({"PVC_CONFIG_FILE": ""}) == "/etc/pvc/pvc.yaml"
    assert config_file({"PVC_CONFIG_FILE": "/a"}) == "/a"


def test_the_last_good_configuration_outlives_a_broken_file(tmp_path: Path) -> None:
    path = minimal(tmp_path)
    kept = LastGood(tmp_path)
    assert kept.restore(node="hv1") is None
    kept.save(load(path, node="hv1"))
    path.write_text("broken: [")
    restored = kept.restore(node="hv1")
    assert restored is not None and restored.cluster.name == "c1"
    assert kept.path.stat().st_mode & 0o777 == 0o600
    before = kept.path.stat()
    kept.save(restored)
    assert kept.path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_state_directory_that_cannot_be_written_is_told_in_words(tmp_path: Path) -> None:
    config = load(minimal(tmp_path), node="hv1")
    with pytest.raises(Permanent, match="could not be kept at"):
        LastGood(tmp_path / "missing").save(config)


_words = st.sampled_from(
    ["cluster", "store", "plugins", "use", "host_networks", "intervals", "name", "coordinators", "embedded", "a"]
)
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
_trees = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(_words, _trees, max_size=6))
@settings(max_examples=150, deadline=None)
def test_no_tree_of_yaml_raises_anything(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object]) -> None:
    import yaml

    path = write(tmp_path_factory.getbasetemp(), yaml.safe_dump(tree, allow_unicode=True))
    reading = read(path, node="hv1")
    assert all(str(fault) for fault in reading.faults)
    assert reading.config is not None or reading.faults

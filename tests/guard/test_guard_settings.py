"""What the guard takes from pvc.yaml, from a broken one, and the incarnation it keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvc_core.config import EmbeddedStore, check, load
from pvc_core.errors import Invalid, Retry
from pvc_core.guard import incarnation
from pvc_core.guard.settings import read_settings

GOOD = "cluster: {name: c1, coordinators: [hv1]}\nstore: {embedded: {port: 2999}}\n"
THREE = "cluster: {name: c1, coordinators: [hv1, hv2, hv3]}\n"
EXAMPLE = Path(__file__).parents[2] / "docs" / "pvc.yaml"


def test_it_reads_the_example_as_the_core_does() -> None:
    """Two readers of one file may not differ: neither in what they find nor in their defaults."""
    _assert_same(EXAMPLE)


@pytest.mark.parametrize(
    "text",
    [
        "cluster: {name: c1, coordinators: [hv1]}\nstore: {embedded: {}}\nplugins: {}\n",
        "cluster: {name: c1, coordinators: [hv1, hv2, hv3]}\nstore: {zookeeper: {}}\nplugins: {}\n",
        "cluster: {name: c1, coordinators: [hv1]}\nstore: {zookeeper: {port: 2999}}\nplugins: {}\n"
        "intervals: {heartbeat_s: 1.5, self_fence_s: 8.2, suspicion_s: 7, promise_s: 4, reset: true}\n"
        "peer: {guard_port: 99}\npaths: {run: /run/p, secrets: /etc/p}\n",
        "cluster: {name: c1, coordinators: [hv1]}\nstore: {embedded: {}}\nplugins: {}\nintervals: {profile: fast}\n",
        "cluster: {name: c1, coordinators: [hv1]}\nstore: {embedded: {}}\nplugins: {}\n"
        "intervals: {profile: fast, self_fence_s: 6}\n",
        "cluster: {name: c1, coordinators: [hv1]}\nstore: {zookeeper: {tls: 'no'}}\nplugins: {}\n"
        "intervals: {heartbeat_s: '1.1', reset: 'on'}\n",
    ],
)
def test_it_reads_any_file_as_the_core_does(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pvc.yaml"
    path.write_text(text)
    _assert_same(path)


def _assert_same(path: Path) -> None:
    config = load(path, node="hv1")
    settings, broken = read_settings(path, node="hv1", state=Path("/nowhere"))
    assert broken == ""
    assert settings.node == config.node
    assert settings.coordinators == config.cluster.coordinators
    assert (settings.run, settings.secrets) == (config.paths.run, config.paths.secrets)
    assert settings.heartbeat_s == config.intervals.heartbeat_s
    assert settings.self_fence_s == config.intervals.self_fence_s
    assert (settings.authority is None) == (settings.alone or not getattr(config.store, "tls", True))
    assert (settings.promise_s, settings.reset) == (config.intervals.promise_s, config.intervals.reset)
    assert settings.guard_port == config.guard_port
    given = {name: str(net.address.ip) for name, net in config.host_networks.items() if net.address}
    assert settings.addresses == given
    assert settings.alone == isinstance(config.store, EmbeddedStore)
    assert {host.rpartition(":")[2] for host in settings.hosts.split(",")} == {str(config.store.port)}


def test_zookeeper_is_asked_on_every_coordinator(tmp_path: Path) -> None:
    path = tmp_path / "pvc.yaml"
    path.write_text("cluster: {coordinators: [hv1, hv2, hv3]}\nstore: {zookeeper: {port: 2182}}\n")
    settings, _ = read_settings(path, node="hv9", state=tmp_path)
    assert settings.hosts == "hv1:2182,hv2:2182,hv3:2182"
    assert not settings.alone


@pytest.mark.parametrize(
    "also",
    [
        "plugins: 17\n",
        "plugins: {nosuch: {a: 1}}\n",
        "unknown: [1]\n",
        "use: {compute: nosuch}\n",
        "peer: 3\n",
        "fencing: no\n",
    ],
)
def test_faults_elsewhere_do_not_matter(tmp_path: Path, also: str) -> None:
    path = tmp_path / "pvc.yaml"
    path.write_text(GOOD + also)
    settings, broken = read_settings(path, node="hv1", state=tmp_path)
    assert (settings.hosts, broken) == ("127.0.0.1:2999", "")


BROKEN = [
    ("a: [", "is not YAML"),
    ("", "coordinators is None"),
    ("just text", "is 'just text', not a section"),
    ("cluster: {coordinators: hv1}", "cluster.coordinators is 'hv1'"),
    ("cluster: {coordinators: []}", "cluster.coordinators is []"),
    (GOOD + "intervals: {heartbeat_s: fast}", "intervals.heartbeat_s is 'fast', seconds from 0.2 to 60 is needed"),
    (GOOD + "intervals: {heartbeat_s: .nan}", "intervals.heartbeat_s is nan"),
    (GOOD + "intervals: {heartbeat_s: 60}", "intervals.promise_s: found promise_s 3 (its default) with heartbeat_s 60"),
    (GOOD + "intervals: {self_fence_s: 600}", "intervals.self_fence_s: found 600; self_fence_s x 1.001"),
    (GOOD + "intervals: {profile: fast, suspicion_s: 1}", "heartbeat_s 0.5 (of profile fast); suspicion_s must be"),
    (GOOD + "intervals: {self_fence: 6}", "intervals.self_fence is no key; these are: profile, reset, heartbeat_s"),
    (GOOD + "plugins: {other: {since: 2024-13-45}}", "is not YAML"),
    ("a: " + "[" * 1000, "is not YAML"),
    (THREE, "store: found neither embedded nor zookeeper for 3 coordinators"),
    (THREE + "stroe: {zookeeper: {}}\n", "store: found neither embedded nor zookeeper for 3 coordinators"),
    (THREE + "store: {embedded: {}}\n", "store: found embedded for 3 coordinators"),
    ("cluster: {coordinators: [hv1, hv2]}", "cluster.coordinators is ['hv1', 'hv2'], 1, 3 or 5 names"),
    ("cluster: {coordinators: [hv1, hv1, hv2]}", "1, 3 or 5 names, each once"),
    (GOOD + "intervals: {self_fence_s: -1}", "intervals.self_fence_s is -1"),
    (GOOD + "intervals: {profile: quick}", "intervals.profile is 'quick', one of default, fast is needed"),
    (GOOD + "intervals: {profile: [fast]}", "intervals.profile is ['fast']"),
    (GOOD + "paths: {run: relative}", "paths.run is 'relative'"),
    ("cluster: {coordinators: [hv1]}\nstore: {embedded: {port: 99999}}", "store.embedded.port is 99999"),
    ("\0", "is not YAML"),
]


@pytest.mark.parametrize(("text", "says"), BROKEN)
def test_a_broken_file_is_told_and_the_last_good_one_used(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "pvc.yaml"
    path.write_text(text)
    with pytest.raises(Invalid) as caught:
        read_settings(path, node="hv1", state=tmp_path)
    assert says in caught.value.message
    (tmp_path / "last-good.yaml").write_text(GOOD)
    settings, broken = read_settings(path, node="hv1", state=tmp_path)
    assert settings.hosts == "127.0.0.1:2999"
    assert says in broken


@pytest.mark.parametrize(("text", "says"), BROKEN)
def test_what_it_refuses_the_core_refuses_too(tmp_path: Path, text: str, says: str) -> None:
    """Or a node would go on with an old configuration for ever, and nobody were told."""
    path = tmp_path / "pvc.yaml"
    path.write_text(text)
    assert check(path, node="hv1"), says


def test_the_last_good_one_is_where_the_broken_file_says(tmp_path: Path) -> None:
    """As pvcnoded's custody has it: paths.state may still be read."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "last-good.yaml").write_text(GOOD)
    path = tmp_path / "pvc.yaml"
    path.write_text(f"cluster: 7\npaths: {{state: {tmp_path}/elsewhere}}\n")
    settings, broken = read_settings(path, node="hv1", state=tmp_path)
    assert (settings.hosts, "cluster" in broken) == ("127.0.0.1:2999", True)


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"there is no .*pvc\.yaml"):
        read_settings(tmp_path / "pvc.yaml", node="hv1", state=tmp_path)


def test_the_incarnation_is_kept_until_the_next_boot(tmp_path: Path) -> None:
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa\n")
    with pytest.raises(Retry, match="is pvcguard running"):
        incarnation.read(tmp_path)
    first = incarnation.ensure(tmp_path, boot_id=boot_id)
    assert incarnation.ensure(tmp_path, boot_id=boot_id) == first == incarnation.read(tmp_path)
    boot_id.write_text("22222222-aaaa-4aaa-8aaa-aaaaaaaaaaaa\n")
    second = incarnation.ensure(tmp_path, boot_id=boot_id)
    assert second != first
    (tmp_path / "incarnation").unlink()  # machines that share a kernel: a fresh /run is a new life
    assert incarnation.ensure(tmp_path, boot_id=boot_id) not in (first, second)

"""init, token, join: the commands themselves, against a real peer channel over TLS on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvc_core.daemon.noded import main
from pvc_core.founding import pki
from pvc_core.founding.token import decode
from pvc_core.peer import Answer, ask
from tests.founding.rig import Cluster, tree

Captured = pytest.CaptureFixture[str]


def token(cluster: Cluster, capsys: Captured, *words: str, by: str = "hv1") -> str:
    capsys.readouterr()
    assert main(["token", "--config", str(cluster.file(by)), "--node", by, *words]) == 0
    return capsys.readouterr().out.strip()


def join(cluster: Cluster, node: str, word: str, *words: str) -> int:
    return main(["join", word, "--config", str(cluster.file(node)), "--node", node, *words])


def test_init_twice_changes_nothing(cluster: Cluster) -> None:
    before = tree(cluster.root)
    assert main(["init", "--config", str(cluster.file("hv1")), "--node", "hv1"]) == 0
    assert tree(cluster.root) == before


def test_keys_and_secrets_are_roots_alone(cluster: Cluster) -> None:
    etc = cluster.root / "hv1/etc"
    private = [etc / "pki/ca.key", etc / "pki/node.key", etc / "secrets/store-node", etc / "secrets/store-quorum"]
    assert [path.stat().st_mode & 0o077 for path in private] == [0, 0, 0, 0]
    everything = (cluster.root / "hv1/pvc.yaml").read_text()
    assert not any(path.read_text().strip() in everything for path in private)


def test_a_node_joins_and_is_known_by_its_name(cluster: Cluster, capsys: Captured) -> None:
    cluster.serve("hv1")
    cluster.write_config("hv2")
    assert join(cluster, "hv2", token(cluster, capsys)) == 0
    assert "hv2 is a member of cluster c" in capsys.readouterr().out
    for name in ("store-node", "store-api", "store-quorum"):
        secret = Path("etc/secrets") / name
        assert (cluster.root / "hv1" / secret).read_text() == (cluster.root / "hv2" / secret).read_text()
    assert (cluster.root / "hv2/state/zookeeper/zoo.cfg").exists()
    cluster.serve("hv2")
    for frm, to in (("hv1", "hv2"), ("hv2", "hv1")):
        with ask(cluster.peer(frm, to), "who") as reply:
            assert reply.result == {"node": to}


def test_a_hypervisor_gets_neither_the_authoritys_key_nor_the_quorums(cluster: Cluster, capsys: Captured) -> None:
    cluster.serve("hv1")
    cluster.write_config("hv4")
    assert join(cluster, "hv4", token(cluster, capsys)) == 0
    assert not (cluster.root / "hv4/etc/pki/ca.key").exists()
    assert not (cluster.root / "hv4/etc/secrets/store-quorum").exists()
    assert not (cluster.root / "hv4/state/zookeeper").exists()
    assert main(["token", "--config", str(cluster.file("hv4")), "--node", "hv4"]) == 1
    assert "make the token on a coordinator" in capsys.readouterr().err


def test_a_token_is_good_once(cluster: Cluster, capsys: Captured) -> None:
    cluster.serve("hv1")
    word = token(cluster, capsys)
    for node in ("hv2", "hv3"):
        cluster.write_config(node)
    assert join(cluster, "hv2", word) == 0
    before = tree(cluster.root / "hv3")
    assert join(cluster, "hv3", word) == 1
    assert "this token was used already, by hv2 (make a new one" in capsys.readouterr().err
    assert tree(cluster.root / "hv3") == before


def test_of_many_that_show_one_token_at_once_one_is_let_in(cluster: Cluster, capsys: Captured) -> None:
    cluster.serve("hv1")
    word, nodes = token(cluster, capsys), [f"hv{number}" for number in range(2, 8)]
    for node in nodes:
        cluster.write_config(node)
    codes: list[int] = []
    threads = [threading.Thread(target=lambda node=node: codes.append(join(cluster, node, word))) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [0, 1, 1, 1, 1, 1]
    assert len(list(cluster.root.glob("hv[2-7]/etc/pki/node.crt"))) == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--minutes", "0.0001"), "this token has run out"),
        (("--for", "hv9"), "this token is for node hv9, not for hv2 (make one with: pvcnoded token --for hv2)"),
    ],
)
def test_a_token_that_does_not_fit(cluster: Cluster, capsys: Captured, words: tuple[str, str], why: str) -> None:
    cluster.serve("hv1")
    cluster.write_config("hv2")
    word, before = token(cluster, capsys, *words), tree(cluster.root / "hv2")
    assert join(cluster, "hv2", word) == 1
    assert why in capsys.readouterr().err
    assert tree(cluster.root / "hv2") == before


def test_a_guessed_secret(cluster: Cluster, capsys: Captured) -> None:
    cluster.serve("hv1")
    cluster.write_config("hv2")
    true = decode(token(cluster, capsys))
    assert join(cluster, "hv2", replace(true, secret="x" * 43).encode()) == 1
    assert "is not one that this coordinator made" in capsys.readouterr().err
    assert join(cluster, "hv2", replace(true, id="../../../../etc/x").encode()) == 1
    assert join(cluster, "hv2", true.encode()[:-20]) == 1
    assert "this is no token" in capsys.readouterr().err
    assert join(cluster, "hv2", true.encode()) == 0, "a wrong guess spends nothing"


def test_who_listens_in_between_is_found_out(cluster: Cluster, tmp_path: Path, capsys: Captured) -> None:
    """Another cluster's coordinator answers at the address: it never sees the secret."""
    other = Cluster(tmp_path / "other")
    other.net, other.peer_port = cluster.net, cluster.peer_port
    assert main(["init", "--config", str(other.write_config("hv1")), "--node", "hv1"]) == 0
    other.serve("hv1")
    cluster.write_config("hv2")
    assert join(cluster, "hv2", token(cluster, capsys)) == 1
    assert "is not of the cluster this token is for" in capsys.readouterr().err
    assert not list((cluster.root / "hv2").rglob("*.crt"))
    other.close()


def test_nobody_answers(cluster: Cluster, capsys: Captured) -> None:
    cluster.write_config("hv2")
    assert join(cluster, "hv2", token(cluster, capsys), "--wait", "1") == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and said[0].startswith("pvcnoded: waiting up to 1 s for hv1: ")
    assert said[1].startswith("pvcnoded: coordinator hv1 could not be asked for 1 s: ")
    assert "nobody listens there" in said[1] and "is the cluster network up on both?" in said[1]


def test_a_coordinator_that_is_reached_late_is_waited_for(cluster: Cluster, capsys: Captured) -> None:
    cluster.write_config("hv2")
    word = token(cluster, capsys)
    late = threading.Timer(0.3, cluster.serve, ["hv1"])
    late.start()
    assert join(cluster, "hv2", word) == 0
    late.join()
    told = capsys.readouterr()
    assert told.err.count("waiting up to 30 s for hv1") == 1 == len(told.err.splitlines())
    assert "hv2 is a member of cluster c" in told.out


def test_who_falls_silent_after_the_first_question_may_have_spent_the_token(
    cluster: Cluster, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not asked again: a token is good once, and the answer that was lost may have been a yes."""
    monkeypatch.setattr("pvc_core.founding.joining.ANSWER_S", 1.5)
    cluster.write_config("hv2")
    word, asked, over = token(cluster, capsys), list[str](), threading.Event()

    def silent(args: Mapping[str, Any], body: Iterator[bytes]) -> Answer:
        asked.append(str(args["node"]))
        over.wait(30)
        return Answer()

    cluster.serve("hv1", for_strangers={"join": silent})
    assert join(cluster, "hv2", word) == 1
    over.set()
    assert asked == ["hv2"]
    assert "make a new one on a coordinator: pvcnoded token --for hv2" in capsys.readouterr().err


def test_a_node_of_another_cluster_stays_there(cluster: Cluster, tmp_path: Path, capsys: Captured) -> None:
    other = Cluster(tmp_path / "other")
    assert main(["init", "--config", str(other.write_config("hv2")), "--node", "hv2"]) == 0
    before = tree(other.root)
    assert main(["join", token(cluster, capsys), "--config", str(other.file("hv2")), "--node", "hv2"]) == 1
    assert "this node belongs to another cluster already" in capsys.readouterr().err
    assert tree(other.root) == before


def test_a_name_in_use_needs_a_token_of_its_own(cluster: Cluster, capsys: Captured) -> None:
    cluster.serve("hv1", known={"hv1": "", "hv2": "10.0.0.2"})
    cluster.write_config("hv2")
    assert join(cluster, "hv2", token(cluster, capsys)) == 1
    assert "there is a node hv2 already" in capsys.readouterr().err
    assert join(cluster, "hv2", token(cluster, capsys, "--for", "hv2")) == 0


def test_without_a_pvc_yaml_one_is_made_that_cannot_start_with_anothers_address(
    cluster: Cluster, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.serve("hv1")
    word = token(cluster, capsys)
    monkeypatch.setattr("pvc_core.daemon.joining.Paths", lambda: cluster.config("hv1").paths.__class__(
        secrets=cluster.root / "hv3/etc/secrets", state=cluster.root / "hv3/state"
    ))  # fmt: skip
    assert join(cluster, "hv3", word) == 0
    said = capsys.readouterr().out
    assert "must be filled in before the daemons start" in said and "FILL-IN-cluster" in said
    text = cluster.file("hv3").read_text()
    assert cluster.address("hv1") not in text and "coordinators: [hv1, hv2, hv3]" in text


def test_only_a_majority_of_new_servers_may_vote_without_data(cluster: Cluster, capsys: Captured) -> None:
    """hv1 and hv2 make a majority together; hv3 must copy their data first. After a first leader nobody may."""
    cluster.serve("hv1")
    for node in ("hv2", "hv3"):
        cluster.write_config(node)
        assert join(cluster, node, token(cluster, capsys)) == 0
    may = [(cluster.root / node / "state/zookeeper/data/initialize").exists() for node in cluster.coordinators]
    assert may == [True, True, False]
    epoch = cluster.root / "hv1/state/zookeeper/data/version-2/currentEpoch"
    epoch.parent.mkdir()
    epoch.write_text("1")
    (cluster.root / "hv2/state/zookeeper/data/initialize").unlink()
    assert join(cluster, "hv2", token(cluster, capsys, "--for", "hv2")) == 0
    assert not (cluster.root / "hv2/state/zookeeper/data/initialize").exists()


def test_a_certificate_names_its_node_and_address(cluster: Cluster) -> None:
    place = cluster.place("hv1")
    name, addresses = pki.names_of(place.need(place.node_crt))
    assert (name, [str(address) for address in addresses]) == ("hv1", [cluster.address("hv1")])

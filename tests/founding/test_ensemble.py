"""Three real ZooKeeper servers as pvcnoded renders them, each with an address of its own on loopback."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import SessionClosedRequireSaslError

from pvc_core.cluster import layout
from pvc_core.cluster.repository import Repository
from pvc_core.daemon.life import prepare
from pvc_core.daemon.noded import main
from pvc_core.daemon.opening import grants
from pvc_core.errors import PvcError, Refused, StoreUnavailable
from pvc_core.founding.pki import serial_of
from pvc_core.founding.revoked import EFFECT_S, ensure_revoked
from pvc_core.founding.secrets import read_secret
from pvc_core.model.node import NodeWanted
from pvc_core.model.vm import Claim
from pvc_core.store.zookeeper import Credentials, ZooKeeperStore, trust
from tests.founding.rig import Cluster

pytestmark = [pytest.mark.system, pytest.mark.slow]


class Ensemble:
    """The servers' processes, on the files of `pvcnoded init` and `join`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.hosts = cluster.root / "hosts"
        self.hosts.write_text("".join(f"{cluster.address(node)} {node}\n" for node in cluster.coordinators))

    def start(self, *nodes: str) -> None:
        """What deploy/pvc-zookeeper.service runs; only the names are looked up in a file of the test's."""
        env = {**os.environ, "JDK_JAVA_OPTIONS": f"-Djdk.net.hosts.file={self.hosts}"}
        for node in nodes:
            with (self.cluster.root / f"{node}.log").open("ab") as log:
                self.processes[node] = subprocess.Popen(
                    ["java", f"@{self.cluster.root}/{node}/state/zookeeper/java.args"], env=env, stdout=log, stderr=log
                )

    def kill(self, *nodes: str) -> None:
        for node in nodes or tuple(self.processes):
            process = self.processes.pop(node)
            process.kill()
            process.wait(10)

    def role(self, node: str) -> str:
        """leader, follower, or "" when it does not serve."""
        try:
            said = self.command(node, b"srvr")
        except OSError:
            return ""
        return next((line[6:] for line in said.splitlines() if line.startswith("Mode: ")), "")

    def command(self, node: str, word: bytes) -> str:
        config = self.cluster.config(node)
        context = self.trust("node")
        said = b""

        with socket.create_connection((self.cluster.address(node), config.store.port), 2) as plain:
            with context.wrap_socket(plain, server_hostname=node) as line:
                line.sendall(word)
                while data := line.recv(4096):
                    said += data
        return said.decode()

    def trust(self, user: str, node: str = "hv1") -> ssl.SSLContext:
        place = self.cluster.place(node)
        return trust(place.ca_crt, (place.directory / f"{user}.crt", place.directory / f"{user}.key"))

    def await_role(self, *nodes: str, wait_s: float = 40.0) -> dict[str, str]:
        until = time.monotonic() + wait_s
        while True:
            roles = {node: self.role(node) for node in nodes}
            if all(roles.values()):
                return roles
            logs = "\n".join((self.cluster.root / f"{node}.log").read_text()[-2000:] for node in nodes)
            assert time.monotonic() < until, f"{roles}\n{logs}"
            time.sleep(0.2)

    def client(self, user: str, password: str | None = None, *, nodes: tuple[str, ...] = ()) -> ZooKeeperStore:
        """As daemon/opening.py makes it, but for the names."""
        config = self.cluster.config("hv1")
        hosts = (f"{self.cluster.address(node)}:{config.store.port}" for node in nodes or self.cluster.coordinators)
        word = password or read_secret(config.paths.secrets, f"store-{user}")
        return ZooKeeperStore(
            ",".join(hosts), credentials=Credentials(user, word, "sasl"), acl=grants,
            tls=self.trust("api" if user == "api" else "node"),
        )  # fmt: skip


def join_all(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.serve("hv1")
    for node in ("hv2", "hv3"):
        capsys.readouterr()
        assert main(["token", "--config", str(cluster.file("hv1")), "--node", "hv1"]) == 0
        word = capsys.readouterr().out.strip()
        assert main(["join", word, "--config", str(cluster.write_config(node)), "--node", node]) == 0


@pytest.fixture
def ensemble(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> Iterator[Ensemble]:
    join_all(cluster, capsys)
    made = Ensemble(cluster)
    yield made
    made.kill()


def test_a_locked_down_ensemble(ensemble: Ensemble) -> None:
    """One story, because three servers take seconds to start: who is let in, who may write what, a leader's death."""
    ensemble.start("hv1", "hv2", "hv3")
    ensemble.await_role("hv1", "hv2", "hv3")
    nobody_is_let_in_without_tls(ensemble)
    nobody_is_let_in_without_a_certificate(ensemble)
    nobody_is_let_in_without_a_password(ensemble)
    with_a_wrong_password(ensemble)
    the_api_may_not_write_who_runs_what(ensemble)
    many_answers_in_one_record_are_all_heard(ensemble)
    writes_go_on_after_the_leaders_death(ensemble)
    whose_certificate_is_revoked_is_let_in_no_more(ensemble)


def nobody_is_let_in_without_tls(ensemble: Ensemble) -> None:
    config = ensemble.cluster.config("hv1")
    plain = ZooKeeperStore(
        f"{ensemble.cluster.address('hv1')}:{config.store.port}",
        credentials=Credentials("node", read_secret(config.paths.secrets, "store-node"), "sasl"),
    )
    with pytest.raises(StoreUnavailable):
        plain.get("/", deadline_s=2)
    plain.close()


def nobody_is_let_in_without_a_certificate(ensemble: Ensemble) -> None:
    config = ensemble.cluster.config("hv1")
    bare = ZooKeeperStore(
        f"{ensemble.cluster.address('hv1')}:{config.store.port}",
        credentials=Credentials("node", read_secret(config.paths.secrets, "store-node"), "sasl"),
        tls=trust(ensemble.cluster.place("hv1").ca_crt),
    )
    with pytest.raises(StoreUnavailable):
        bare.get("/", deadline_s=2)
    bare.close()


def nobody_is_let_in_without_a_password(ensemble: Ensemble) -> None:
    place = ensemble.cluster.place("hv1")
    client = KazooClient(
        f"{ensemble.cluster.address('hv1')}:{ensemble.cluster.config('hv1').store.port}",
        use_ssl=True, ca=str(place.ca_crt), certfile=str(place.node_crt), keyfile=str(place.node_key), timeout=3,
    )  # fmt: skip
    client.start(10)
    with pytest.raises(SessionClosedRequireSaslError):
        client.get_children("/")
    client.stop()
    client.close()


def with_a_wrong_password(ensemble: Ensemble) -> None:
    for user in ("node", "admin"):
        client = ensemble.client(user, "wrong")
        with pytest.raises(StoreUnavailable, match=f"it refuses the credentials of user '{user}'"):
            for _ in range(40):
                with_patience(client)
        client.close()


def with_patience(client: ZooKeeperStore) -> None:
    try:
        client.get("/", deadline_s=1)
    except StoreUnavailable as error:
        if "refuses the credentials" in error.message:
            raise
        time.sleep(0.2)


def the_api_may_not_write_who_runs_what(ensemble: Ensemble) -> None:
    node, api = Repository(ensemble.client("node")), Repository(ensemble.client("api"))
    prepare(node.store, "c")
    node.add(layout.CLAIMS, "u1", Claim(uuid="u1", holder="hv1"))
    api.add(layout.NODE_WANTED, "hv1", NodeWanted(name="hv1"))
    for forbidden in (
        lambda: api.set(layout.CLAIMS, "u1", Claim(uuid="u1", holder="hv2"), if_version=None),
        lambda: api.drop(layout.CLAIMS, "u1", if_version=None),
        lambda: api.store.create("/pvc/plugins/x", b""),
    ):
        with pytest.raises(Refused):
            forbidden()
    assert api.get(layout.CLAIMS, "u1").value.holder == "hv1"
    node.store.close()
    api.store.close()


def many_answers_in_one_record_are_all_heard(ensemble: Ensemble) -> None:
    """kazoo's own loop would wait for the kernel to say that something came, while TLS holds it already."""
    store = ensemble.client("node")
    for number in range(300):
        store.create(f"/pvc/many/{number}", b"x" * 50)
    began = time.monotonic()
    for _ in range(5):
        assert len(store.tree("/pvc/many")) == 301
    assert time.monotonic() - began < 5
    store.close()


def writes_go_on_after_the_leaders_death(ensemble: Ensemble) -> None:
    store = ensemble.client("node")
    store.create("/pvc/count", b"0")
    leader = next(node for node, role in ensemble.await_role("hv1", "hv2", "hv3").items() if role == "leader")
    ensemble.kill(leader)
    killed, written = time.monotonic(), 0
    for number in itertools.count(1):
        try:
            store.put("/pvc/count", b"%d" % number, if_version=None, deadline_s=1)
            written = number
            break
        except PvcError:
            assert time.monotonic() - killed < 20, "no write after the leader's death"
            time.sleep(0.05)
    print(f"leader killed -> next write after {time.monotonic() - killed:.1f} s")
    assert store.get("/pvc/count").value == b"%d" % written
    store.close()


def whose_certificate_is_revoked_is_let_in_no_more(ensemble: Ensemble) -> None:
    """hv3 and its API, with all they were given; hv1 goes on. The servers read the list anew by themselves."""
    served = [node for node in ensemble.cluster.coordinators if ensemble.role(node)]
    theirs = ensemble.cluster.place("hv3")
    for node in ensemble.cluster.coordinators:  # each writes its own
        assert ensure_revoked(ensemble.cluster.place(node), [serial_of(theirs.need(theirs.node_crt))])
    began = time.monotonic()
    while any(_let_in(ensemble, user, "hv3", server) for user in ("node", "api") for server in served):
        assert time.monotonic() - began < 2 * EFFECT_S
        time.sleep(1)
    print(f"revoked -> refused by all after {time.monotonic() - began:.0f} s")
    assert all(_let_in(ensemble, user, "hv1", server) for user in ("node", "api") for server in served)


def _let_in(ensemble: Ensemble, user: str, node: str, server: str) -> bool:
    word = read_secret(ensemble.cluster.config(node).paths.secrets, f"store-{user}")
    where = f"{ensemble.cluster.address(server)}:{ensemble.cluster.config('hv1').store.port}"
    store = ZooKeeperStore(where, credentials=Credentials(user, word, "sasl"), tls=ensemble.trust(user, node))
    try:
        store.get("/", deadline_s=3)
    except StoreUnavailable:
        return False
    finally:
        store.close()
    return True


def test_fresh_servers_do_not_outvote_the_one_with_the_data(ensemble: Ensemble) -> None:
    """hv2 and hv3 are a majority in number, but have no data; nor may a server whose disk was lost vote."""
    ensemble.start("hv2", "hv3")
    time.sleep(6)
    assert [ensemble.role(node) for node in ("hv2", "hv3")] == ["", ""]
    ensemble.start("hv1")
    ensemble.await_role("hv1", "hv2", "hv3")
    store = ensemble.client("node")
    store.create("/pvc/kept", b"yes")
    store.close()
    ensemble.kill()
    data = ensemble.cluster.root / "hv2/state/zookeeper/data/version-2"
    shutil.rmtree(data)
    ensemble.start("hv2")
    time.sleep(3)
    ensemble.start("hv1", "hv3")
    ensemble.await_role("hv1", "hv2", "hv3")
    store = ensemble.client("node", nodes=("hv2",))
    assert store.get("/pvc/kept").value == b"yes", "it has copied the others' data"
    store.close()


def test_a_server_keeps_its_number(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    file: Path = cluster.file("hv1")
    file.write_text(file.read_text().replace("[hv1, hv2, hv3]", "[hv2, hv1, hv3]"))
    assert main(["ensemble", "render", "--config", str(file), "--node", "hv1"]) == 1
    assert "hv1 is number 2 of cluster.coordinators, but its ZooKeeper server is number 1" in capsys.readouterr().err

"""ZooKeeper's configuration on a coordinator, rendered from pvc.yaml, the secrets and the certificates.

Servers and clients meet over TLS with the cluster's certificates, clients say who they are by SASL (DIGEST-MD5) and
nobody else is let in; servers prove themselves to each other by SASL too. Only the cluster network is listened on. The
settings are those of ZooKeeper 3.8's administrator's guide; the intervals are what the safety rules count with.
Starting the server is deploy/pvc-zookeeper.service.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pvc_core.config import Config, ZookeeperStore
from pvc_core.errors import Permanent, Refused
from pvc_core.founding.files import PUBLIC, File, differing, give_to, write_all
from pvc_core.founding.pki import Place
from pvc_core.founding.places import bracketed, cluster_address, pki_of
from pvc_core.founding.secrets import STORE_API, STORE_NODE, STORE_QUORUM, read_secret

USER = "pvcstore"
QUORUM_PORT, ELECTION_PORT = 2888, 3888
_JARS = "/usr/share/java"
_CLASSES = ("zookeeper", "slf4j-simple", "netty-codec", "netty-resolver")
"""Debian's zookeeper.jar names all others itself but forgets the last two, which TLS needs."""


def place_of(config: Config) -> Path:
    return config.paths.state / "zookeeper"


def concerns(config: Config) -> bool:
    """Whether a ZooKeeper server belongs on this node."""
    return isinstance(config.store, ZookeeperStore) and config.coordinator


def ensure_rendered(config: Config) -> list[Path]:
    """Write what differs from what pvc.yaml wants; returns those files, after which the server wants a restart.

    Raises Refused (this cannot be an ensemble), NotFound (a secret), Permanent.
    """
    files = rendered(config)
    _check_number(config, place_of(config) / "data" / "myid")
    _make_places(config.paths.state)
    changed = differing(files)
    write_all(changed)
    return [file.path for file in changed]


def let_vote_empty(state: Path) -> None:
    """This node's server, if it has no data yet, may take part in elections all the same (see first_voters).

    Only when a node is made, never again: a server that lost its data must not vote. Raises Permanent.
    """
    data = _make_places(state)
    if not (data / "version-2").exists():
        write_all([File(data / "initialize", "", PUBLIC)])


def first_voters(coordinators: Sequence[str], founder: str) -> tuple[str, ...]:
    """Who may vote without data while the ensemble has never had a leader: the founder, and just as many more as make
    a majority only together with it.

    Without data a server otherwise has no vote until it has copied the others' (zookeeper.db.autocreate=false): two
    fresh ones would outvote the one with the data, and one whose disk was lost would forget what it acknowledged.
    """
    others = [name for name in coordinators if name != founder]
    return (founder, *others[: len(coordinators) // 2])


def was_in_a_quorum(config: Config) -> bool:
    """Whether this node's server ever followed or led: then nobody may vote without data any more. Raises Permanent."""
    epoch = place_of(config) / "data" / "version-2" / "currentEpoch"
    try:
        return epoch.read_text().strip() not in ("", "0")
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Permanent(f"{epoch} cannot be read: {error.strerror}", help="run it as root") from None


def rendered(config: Config) -> list[File]:
    """Every file of the server but its data. Raises Refused, NotFound, Permanent."""
    place, pki = place_of(config), Place(pki_of(config))
    secret = {name: read_secret(config.paths.secrets, name) for name in (STORE_NODE, STORE_API, STORE_QUORUM)}
    return [
        File(place / "data" / "myid", f"{_number(config)}\n", PUBLIC),
        File(place / "jaas.conf", _jaas(secret), group=USER),
        File(place / "server.pem", pki.need(pki.node_key) + pki.need(pki.node_crt), group=USER),
        File(place / "java.args", _java(place), PUBLIC),
        File(place / "zoo.cfg", _zoo_cfg(config, place, pki), PUBLIC),
    ]


def _make_places(state: Path) -> Path:
    data = state / "zookeeper" / "data"
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        # Only the data is the server's: in a directory of its own it could lead root's hand elsewhere.
        data.mkdir(mode=0o750, exist_ok=True)
        give_to(data, USER)
    except OSError as error:
        raise Permanent(f"{data} cannot be made: {error.strerror}", help="run it as root") from None
    return data


def _zoo_cfg(config: Config, place: Path, pki: Place) -> str:
    assert isinstance(config.store, ZookeeperStore)
    lines = [
        "# Rendered by pvcnoded from pvc.yaml; it writes it anew when it differs.",
        f"dataDir={place}/data",
        # Leader loss is seen within 2 s; a new member has 10 s to copy the database.
        "tickTime=500", "initLimit=20", "syncLimit=4",
        # A session of the guard's may be as short as 1 s, that of a view as long as 60 s.
        "minSessionTimeout=1000", "maxSessionTimeout=60000", "maxClientCnxns=0",
        "forceSync=yes", "autopurge.snapRetainCount=5", "autopurge.purgeInterval=24",
        f"secureClientPort={config.store.port}",
        f"secureClientPortAddress={_own_address(config)}",
        "authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
        "enforce.auth.enabled=true", "enforce.auth.schemes=sasl",
        f"ssl.keyStore.location={place}/server.pem", "ssl.keyStore.type=PEM",
        f"ssl.trustStore.location={pki.ca_crt}", "ssl.trustStore.type=PEM",
        # A certificate says that somebody is a member still (revoked.py), SASL as which of the two identities.
        "ssl.clientAuth=need", "ssl.crl=true", "ssl.protocol=TLSv1.3", "ssl.enabledProtocols=TLSv1.3",
        "ssl.ciphersuites=TLS_AES_256_GCM_SHA384,TLS_AES_128_GCM_SHA256",  # its own list has none of 1.3's
        # Between servers, too, who was removed is looked up: a coordinator that was replaced still knows the password.
        # Their names are not compared with the certificates': who knows the password is a coordinator.
        "sslQuorum=true", "ssl.quorum.crl=true", "ssl.quorum.hostnameVerification=false",
        f"ssl.quorum.keyStore.location={place}/server.pem", "ssl.quorum.keyStore.type=PEM",
        f"ssl.quorum.trustStore.location={pki.ca_crt}", "ssl.quorum.trustStore.type=PEM",
        "ssl.quorum.protocol=TLSv1.3", "ssl.quorum.enabledProtocols=TLSv1.3",
        "ssl.quorum.ciphersuites=TLS_AES_256_GCM_SHA384,TLS_AES_128_GCM_SHA256",
        "quorum.auth.enableSasl=true", "quorum.auth.learnerRequireSasl=true", "quorum.auth.serverRequireSasl=true",
        "admin.enableServer=false", "4lw.commands.whitelist=ruok,srvr,mntr",
        *_servers(config),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _servers(config: Config) -> list[str]:
    """Alone it needs no ports for others. Its own address is not looked up: Debian's /etc/hosts gives a host's own name
    127.0.1.1, where the others cannot reach it.
    """
    names = config.cluster.coordinators
    if len(names) == 1:
        return []
    hosts = [_own_address(config) if name == config.node else name for name in names]
    return [f"server.{number}={bracketed(host)}:{QUORUM_PORT}:{ELECTION_PORT}" for number, host in enumerate(hosts, 1)]


def _jaas(secret: dict[str, str]) -> str:
    module = "org.apache.zookeeper.server.auth.DigestLoginModule required"
    quorum = secret[STORE_QUORUM]
    return (
        f'Server {{ {module} user_node="{secret[STORE_NODE]}" user_api="{secret[STORE_API]}"; }};\n'
        f'QuorumServer {{ {module} user_quorum="{quorum}"; }};\n'
        f'QuorumLearner {{ {module} username="quorum" password="{quorum}"; }};\n'
    )


def _java(place: Path) -> str:
    """What `java @java.args` reads: options and the main class."""
    return "\n".join([
        "-Xms32m", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError",
        f"-Djava.security.auth.login.config={place}/jaas.conf",
        "-Dzookeeper.serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
        # How long a dead peer may hold up an election.
        "-Dzookeeper.cnxTimeout=500",
        "-Dzookeeper.fastleader.maxNotificationInterval=2000",
        # A server without data (new, or with a lost disk) has no vote before it has copied the others'.
        "-Dzookeeper.db.autocreate=false",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp", ":".join(f"{_JARS}/{name}.jar" for name in _CLASSES),
        "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        f"{place}/zoo.cfg",
    ]) + "\n"  # fmt: skip


def _own_address(config: Config) -> str:
    address = cluster_address(config)
    if address is not None:
        return str(address)
    if len(config.cluster.coordinators) == 1:
        return "127.0.0.1"
    raise Refused(
        "several coordinators meet on the cluster network, and pvc.yaml gives this node no address there",
        help="add host_networks.cluster with device and address",
    )


def _number(config: Config) -> int:
    return config.cluster.coordinators.index(config.node) + 1


def _check_number(config: Config, myid: Path) -> None:
    """A server keeps its number for life: what it promised in elections stands under it."""
    had = myid.read_text().strip() if myid.exists() else ""
    number = _number(config)
    if had and had != str(number):
        raise Refused(
            f"{config.node} is number {number} of cluster.coordinators, but its ZooKeeper server is number {had}",
            help="keep the order of coordinators; a replacement takes the place of the one it replaces",
        )

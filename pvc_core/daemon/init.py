"""`pvcnoded init`: the first node's authority, certificate, secrets and a commented pvc.yaml. What is there already
stays as it is.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from pvc_core.clock import SystemClock
from pvc_core.config import Config, HostNetwork, ZookeeperStore, load
from pvc_core.daemon.given import as_yaml
from pvc_core.daemon.members import write_value
from pvc_core.errors import Refused
from pvc_core.founding import ensemble, firstkey, pki, revoked
from pvc_core.founding.files import PUBLIC, File, write_all
from pvc_core.founding.places import cluster_address, pki_of
from pvc_core.founding.secrets import GROUP, STORE_API, ensure_secrets, read_secret, secret_file
from pvc_core.ids import checked_name
from pvc_core.loader import Loaded, load_all

TEMPLATE = """\
# PVC on this node. Every key is explained in docs/configuration.md; `pvcnoded --check` tells every fault at once.
cluster:
  name: {cluster}
  coordinators: [{node}]           # 1, 3 or 5 names
store:
  embedded: {{}}                     # a single node's own store; a larger cluster has zookeeper: {{}}
{networks}plugins:                            # the active set: what is not named is not loaded
  compute_libvirt: {{virt_type: auto}}
  storage_dir: {{path: /var/lib/pvc/volumes}}
  api_falcon: {{}}
use:
  compute: compute_libvirt
  default_pool: {{name: vms, driver: storage_dir}}
"""


def init(
    file: Path,
    node: str | None = None,
    *,
    first_key: str | None = None,
    cluster: str = "cluster1",
    networks: Mapping[str, HostNetwork] | None = None,
    fresh_store: bool = False,
) -> int:
    """Exit code 0; prints what it made. `cluster` and `networks` go into the pvc.yaml that is made if there is none.

    `fresh_store`: all coordinators are lost; this one, with the old /etc/pvc, begins an empty store alone. Raises
    Permanent, ConfigError, Refused (`fresh_store`: the store is not lost).
    """
    if fresh_store:
        _alone(file, node)
    made = _write_config(file, cluster, networks or {})
    config, loaded = load_all(file, node=node)
    for path in _found(config):
        print(f"made {path}")
    prepare(config, loaded)
    if first_key:
        print(firstkey.make(config.paths.state, first_key, SystemClock()))
    if made:
        print(f"made {file}; look it over, then start the daemons")
    elif not fresh_store:
        print(f"{file} is there already and stays as it is")
    return 0


def _alone(file: Path, node: str | None) -> None:
    """Its server may begin without data and without the others. Raises Refused while there is data."""
    config = load(file, node=node)
    if not isinstance(config.store, ZookeeperStore) or not pki.Place(pki_of(config)).ca_key.exists():
        raise Refused(
            f"no fresh store for cluster {config.cluster.name}: this is for a coordinator's machine that has the old "
            "pvc.yaml, with ZooKeeper, and the cluster's authority",
            help="copy a coordinator's /etc/pvc here, or begin a new cluster by `pvcnoded init`",
        )
    data = ensemble.place_of(config) / "data" / "version-2"
    if data.exists():
        raise Refused(
            f"no fresh store for cluster {config.cluster.name}: there is data of the old one in {data}",
            help="start pvc-zookeeper with it; if it is worth nothing, move it away",
        )
    write_value(file, ("cluster", "coordinators"), f"[{config.node}]", node=node)
    ensemble.let_vote_empty(config.paths.state)
    _let_the_api_read(config)
    print(f"{config.node} begins an empty store alone; docs/backup.md says how it goes on")


def _let_the_api_read(config: Config) -> None:
    """A copy of the old files may have come without their group, or with the old machine's number for it."""
    place, directory = pki.Place(pki_of(config)), config.paths.secrets
    files = [secret_file(directory, STORE_API, read_secret(directory, STORE_API))]
    if place.api_key.exists():
        files.append(File(place.api_key, place.need(place.api_key), group=GROUP))
    write_all(files)


def prepare(config: Config, loaded: Loaded) -> None:
    """What every node needs once its secrets are there, the first as well as those that join. Prints what it made."""
    place = pki.Place(pki_of(config))
    for path in pki.ensure_api(place, config.node, GROUP):
        print(f"made {path}")
    revoked.ensure_revoked(place)
    if ensemble.concerns(config):
        for path in ensemble.ensure_rendered(config):
            print(f"wrote {path}")
    for name, plugin in loaded.plugins.items():
        for sentence in plugin.prepare_node():
            print(f"{name}: {sentence}")


def _found(config: Config) -> list[Path]:
    """The cluster, if this is its first node."""
    place, own = pki.Place(pki_of(config)), cluster_address(config)
    if ensemble.concerns(config) and not place.ca_crt.exists():
        ensemble.let_vote_empty(config.paths.state)
    made = pki.ensure_ca(place, config.cluster.name)
    names = ensure_secrets(config.paths.secrets)
    made += pki.ensure_node(place, config.node, [own] if own else pki.LOOPBACK)
    return [*(config.paths.secrets / name for name in names), *made]


def _write_config(file: Path, cluster: str, networks: Mapping[str, HostNetwork]) -> bool:
    """Whole or not at all: what is there already stays as it is, also when it is half of a file."""
    if file.exists():
        return False
    write_all([File(file, _text(checked_name(cluster, "cluster"), networks), PUBLIC)])
    return True


def _text(cluster: str, networks: Mapping[str, HostNetwork]) -> str:
    lines = "".join(as_yaml(name, network) for name, network in networks.items())
    section = f"host_networks:                      # pvcnoded makes and keeps these\n{lines}" if lines else ""
    return TEMPLATE.format(node=socket.gethostname().partition(".")[0], cluster=cluster, networks=section)

"""The files a node is born with: its /etc (a private copy of the machine's, without secrets) and /var, pvc.yaml,
libvirt's configuration.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import yaml

from lab import bmcs, ceph, network
from lab.state import REPOSITORY, Lab, Plan

# What a node has no use for, or no business with. Everything else of /etc is copied: programs look up their defaults
# there.
LEFT_OUT = (
    "shadow*",
    "gshadow*",
    "sudoers*",
    "ssh",
    "private",
    "libvirt",
    "pvc",
    "opasswd",
    "*.lock",
    "machine-id",
    "kubernetes",
)
FIRST_UID = 64001  # above what Debian gives out by itself
VOLUMES = "/var/lib/pvc/volumes"
PKI = "/etc/pvc/pki"
# Where libvirt (as a client of the other nodes' libvirtds) and QEMU (for what a migration carries) look for them.
CERTIFICATES = {
    "pki/CA/cacert.pem": "ca.crt",
    "pki/libvirt/clientcert.pem": "node.crt",
    "pki/libvirt/private/clientkey.pem": "node.key",
    "pki/qemu/ca-cert.pem": "ca.crt",
    "pki/qemu/server-cert.pem": "node.crt",
    "pki/qemu/server-key.pem": "node.key",
    "pki/qemu/client-cert.pem": "node.crt",
    "pki/qemu/client-key.pem": "node.key",
}
""".pem files of /etc -> files of PKI."""


def make_node_files(lab: Lab, plan: Plan, node: str) -> None:
    """Make etc and var of `node`."""
    place = lab.node_dir(node)
    _make_var(place / "var")
    _copy_etc(place / "etc")
    number = plan.nodes.index(node) + 1
    write = _Writer(place / "etc")
    write("hostname", f"{node}\n")
    write("machine-id", f"{bmcs.machine_uuid(lab, node).hex}\n")
    write("hosts", "127.0.0.1 localhost\n" if plan.fresh else _hosts(plan))
    write("libvirt/libvirtd.conf", _libvirtd_conf(bmcs.machine_uuid(lab, node), network.CLUSTER.address(number)))
    for name, target in CERTIFICATES.items():
        write.link(name, f"{PKI}/{target}")
    write("libvirt/qemu.conf", QEMU_CONF)
    write("pvc/machine-uuid", f"{bmcs.machine_uuid(lab, node)}\n")
    write("pvc/bmc-password", f"{bmcs.password(lab, node)}\n", mode=0o600)
    if not plan.fresh:
        write("pvc/pvc.yaml", pvc_yaml(plan, number))
    if plan.storage == "ceph":
        write.link("ceph/ceph.conf", str(ceph.directory(lab) / "ceph.conf"))
        for path, text in ceph.node_files(lab, plan, node).items():
            write(path, text)


def make_switch_files(lab: Lab) -> None:
    """Make etc and var of the switch, which is a node without PVC: it runs the DHCP server of upstream."""
    place = lab.node_dir("switch")
    _make_var(place / "var")
    _copy_etc(place / "etc")
    first, last = network.DHCP_RANGE
    _Writer(place / "etc")(
        "dhcp.conf",
        f"# DHCP only (port=0: no DNS), on the bridge of upstream.\n"
        f"port=0\nuser=root\ninterface={network.UPSTREAM.name}\nbind-interfaces\ndhcp-authoritative\nno-ping\n"
        f"dhcp-range={first},{last},255.255.255.0,1h\ndhcp-option=option:router,{network.UPSTREAM.gateway}\n"
        f"dhcp-leasefile=/var/lib/misc/dhcp.leases\npid-file=/run/dhcp.pid\n",
    )


class _Writer:
    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # it may be a link to somewhere on the machine
        path.touch(mode)
        path.write_text(text)

    def link(self, name: str, target: str) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)


def _make_var(var: Path) -> None:
    for name in ("lib/libvirt", "lib/misc", "lib/pvc", "log/libvirt", "log/pvc", "cache/libvirt", "spool"):
        (var / name).mkdir(parents=True, exist_ok=True)
    (var / "tmp").mkdir(exist_ok=True)
    (var / "tmp").chmod(0o1777)
    for name, target in (("run", "/run"), ("lock", "/run/lock")):
        (var / name).symlink_to(target)


def _copy_etc(etc: Path) -> None:
    shutil.copytree("/etc", etc, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT), ignore_dangling_symlinks=True)
    known = {line.split(":")[0] for line in (etc / "passwd").read_text().splitlines()}
    for number, (name, home) in enumerate(_users(), FIRST_UID):
        if name in known:
            continue
        with (etc / "passwd").open("a") as passwd, (etc / "group").open("a") as group:
            passwd.write(f"{name}:x:{number}:{number}::{home}:/usr/sbin/nologin\n")
            group.write(f"{name}:x:{number}:\n")


def _users() -> Sequence[tuple[str, str]]:
    """Return (name, home) of the users PVC needs, from what ships: lines `u NAME - "who" HOME` of sysusers.d(5).

    libvirt-qemu is libvirtd's: it does not start without, though qemu.conf names another.
    """
    text = (REPOSITORY / "deploy/sysusers.d/pvc.conf").read_text()
    return [("libvirt-qemu", "/var/lib/libvirt"), *re.findall(r'^u\s+(\S+)\s+-\s+"[^"]*"\s+(\S+)', text, re.MULTILINE)]


def _hosts(plan: Plan) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    for number, node in enumerate(plan.nodes, 1):
        lines += [f"{network.CLUSTER.address(number)} {node}", f"{network.UPSTREAM.address(number)} {node}.upstream"]
    return "\n".join(lines) + "\n"


def _libvirtd_conf(host: UUID, cluster_address: str) -> str:
    """host_uuid must differ from node to node: libvirt refuses to migrate "to the same host".

    Nodes' libvirtds talk to each other over TLS, and each shows the certificate it was given when it joined.
    """
    return (
        f'listen_tls = 1\nlisten_tcp = 0\nlisten_addr = "{cluster_address}"\nauth_unix_rw = "none"\n'
        f'ca_file = "{PKI}/ca.crt"\ncert_file = "{PKI}/node.crt"\nkey_file = "{PKI}/node.key"\n'
        'unix_sock_group = "root"\nunix_sock_rw_perms = "0700"\n'
        f'host_uuid = "{host}"\nlog_outputs = "2:file:/var/log/libvirt/libvirtd.log"\n'
    )


# There is no virtlogd in a lab node (stdio_handler), no control group of its own, and its walls are the lab's, not
# libvirt's. keepalive_*: as docs/installing.md has it.
QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
keepalive_interval = 2
keepalive_count = 4
"""


def pvc_yaml(plan: Plan, number: int) -> str:
    """Return the pvc.yaml of the `number`th node: what a person would have written for it."""
    content = {
        "cluster": {"name": plan.name, "coordinators": plan.coordinators},
        "store": {plan.store: {}},
        "host_networks": {item.name: _host_network(item, number) for item in network.NETWORKS},
        "plugins": {
            "compute_libvirt": {"virt_type": "qemu"},
            "storage_dir": {"path": VOLUMES},
            **({"storage_ceph": {}} if plan.storage == "ceph" else {}),
            "fence_ipmi": {
                "address": bmcs.address(plan, plan.nodes[number - 1]),
                "user": bmcs.USER,
                "password_file": "/etc/pvc/bmc-password",
            },
            "net_evpn": {},
            "api_falcon": {},
            **{name: {} for name in plan.plugins},
        },
        "use": {
            "compute": "compute_libvirt",
            "networks": {"managed": "net_evpn", **_networks_of(plan.plugins)},
            "default_pool": {"name": "vms", "driver": f"storage_{plan.storage}"},
        },
        "fencing": {"ladder": ["fence_ipmi", *(["storage_ceph"] if plan.storage == "ceph" else [])]},
    }
    return f"# Written by script/lab for its node {plan.nodes[number - 1]}.\n" + yaml.safe_dump(
        content, sort_keys=False
    )


def _networks_of(plugins: Sequence[str]) -> dict[str, str]:
    """A stranger's plugin net_NAME makes networks of type NAME."""
    return {name.removeprefix("net_"): name for name in plugins if name.startswith("net_")}


def _host_network(item: network.Network, number: int) -> dict[str, str]:
    words = {
        "device": item.device,
        "address": f"{item.address(number)}/24",
        "floating": f"{item.floating}/24",
    }
    return {**words, "gateway": item.gateway} if item is network.UPSTREAM else words

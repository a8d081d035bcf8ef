"""`pvcnoded init`: the first node's secrets and a commented pvc.yaml. What is there already stays as it is."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from pvc_core.daemon.secrets import ensure_secrets
from pvc_core.errors import Permanent
from pvc_core.loader import load_all

TEMPLATE = """\
# PVC on this node. Every key is explained in docs/configuration.md; `pvcnoded --check` tells every fault at once.
cluster:
  name: cluster1
  coordinators: [{node}]           # 1, 3 or 5 names
store:
  embedded: {{}}                     # a single node's own store; a larger cluster has zookeeper: {{}}
plugins:                            # the active set: what is not named is not loaded
  compute_libvirt: {{virt_type: auto}}
  storage_dir: {{path: /var/lib/pvc/volumes}}
  api_falcon: {{}}
use:
  compute: compute_libvirt
  default_pool: {{name: vms, driver: storage_dir}}
"""


def init(file: Path) -> int:
    """Exit code 0; prints what it made. Raises Permanent, ConfigError."""
    made = _write_config(file)
    config, loaded = load_all(file)
    for name in ensure_secrets(config.paths.secrets):
        print(f"made {config.paths.secrets / name}")
    for name, plugin in loaded.plugins.items():
        for sentence in plugin.prepare_node():
            print(f"{name}: {sentence}")
    print(
        f"made {file}; look it over, then start the daemons" if made else f"{file} is there already and stays as it is"
    )
    return 0


def _write_config(file: Path) -> bool:
    if file.exists():
        return False
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as out:
            out.write(TEMPLATE.format(node=socket.gethostname().partition(".")[0]))
    except OSError as error:
        raise Permanent(f"{file} cannot be written: {error.strerror}", help="run it as root") from None
    return True

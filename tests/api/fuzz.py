"""schemathesis over the whole OpenAPI document against a running API: no 5xx, no status and no body the document does
not name.

python -m tests.api.fuzz [--examples N] [--seed N] [ANY OF SCHEMATHESIS' OPTIONS]     from the repository's root

That is the long form, with all of schemathesis' phases; script/test runs a short one (test_fuzz.py). Exit code: its
own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .fake_compute import definition
from .rig import NODE, Api, new_rig, running

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "ignored_auth", "unsupported_method",
)  # fmt: skip
"""The rest judges whether bad input is always refused; query and form may carry what only PVC's old API knew."""
THERE = {
    "node": NODE, "vm": "web1", "vni": "77", "mac": "52:54:00:00:00:09", "pool": "vms", "volume": "web1_sda",
    "snapshot": "s1", "key": "spare", "description": "web", "plugin": "storage_fake", "action": "scrub",
}  # fmt: skip
"""What paths name, when they are to name what there is. Not the key all of this asks with: it would be removed, and the
rest answered with 401.
"""


def furnish(api: Api) -> None:
    """Make what THERE names."""
    subnet = {"ip4_network": "10.77.0.0/24", "ip4_gateway": "10.77.0.1"}
    dhcp = {"dhcp4": "true", "dhcp4_start": "10.77.0.100", "dhcp4_end": "10.77.0.199"}
    api.rig.services.keys.add(THERE["key"], "operator")
    with api.client() as client:
        for path, form in (
            ("/network", {"vni": "77", "description": "net77", "nettype": "managed", **subnet, **dhcp}),
            ("/network/77/lease", {"macaddress": THERE["mac"], "ipaddress": "10.77.0.9"}),
            ("/network/77/acl", {"description": THERE["description"], "rule": "tcp dport 80 accept"}),
            ("/storage/ceph/volume", {"pool": "vms", "volume": "web1_sda", "size": "1M"}),
            ("/storage/ceph/snapshot", {"pool": "vms", "volume": "web1_sda", "snapshot": "s1"}),
            ("/vm", {"xml": definition("web1", disk="vms/web1_sda")}),
            ("/vm/web1/state", {"state": "start", "wait": "true"}),
        ):
            answer = client.post(path, data=form)
            assert answer.status_code == 200, answer.text


def fuzz(
    api: Api, tmp: Path, more: Sequence[str], *, names: Mapping[str, str], within_s: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    """`names`: what paths always name, by parameter; any other is made up."""
    lines = [f'"path.{name}" = "{value}"\n' for name, value in names.items()]
    lines.append('"query.follow" = "false"\n')  # a stream has no end; test_streams.py has them
    (tmp / "schemathesis.toml").write_text("[parameters]\n" + "".join(lines))
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/api/v1/openapi.json"]
    command += ["--checks", ",".join(CHECKS), "-H", f"X-Api-Key: {api.key}", "--url", f"{api.url}/api/v1"]
    command += ["--continue-on-failure", "--request-timeout", "30", "--no-color", *more]
    return subprocess.run(command, cwd=tmp, env={**os.environ, "NO_PROXY": "127.0.0.1"}, check=False, timeout=within_s)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options, more = parser.parse_known_args(argv)
    more += ["--seed", str(options.seed), "--max-examples", str(options.examples)]
    rig = new_rig()
    try:
        with tempfile.TemporaryDirectory() as tmp, running(rig, Path(tmp)) as api:
            furnish(api)
            codes = [fuzz(api, Path(tmp), more, names=names).returncode for names in (THERE, {})]
        return max(codes)
    finally:
        rig.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

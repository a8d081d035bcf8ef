"""schemathesis over the whole OpenAPI document against a running API: no 5xx, no status the document does not name.

python -m tests.api.fuzz [--examples N] [--seed N] [ANY OF SCHEMATHESIS' OPTIONS]     from the repository's root

schemathesis is not installed by script/setup; `.venv/bin/pip install schemathesis` does. Exit code: its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .rig import new_rig, running

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "ignored_auth", "unsupported_method",
)  # fmt: skip
"""The rest judges whether bad input is always refused; query and form may carry what only PVC's old API knew."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options, more = parser.parse_known_args(argv)
    rig = new_rig()
    try:
        with tempfile.TemporaryDirectory() as tmp, running(rig, Path(tmp)) as api:
            command = [sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/api/v1/openapi.json"]
            command += ["--checks", ",".join(CHECKS), "-H", f"X-Api-Key: {api.key}", "--seed", str(options.seed)]
            command += ["--url", f"{api.url}/api/v1", "--max-examples", str(options.examples)]
            return subprocess.run([*command, "--continue-on-failure", *more], cwd=tmp, check=False).returncode
    finally:
        rig.close()


def available() -> bool:
    return importlib.util.find_spec("schemathesis") is not None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

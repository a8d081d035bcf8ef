"""The store's own figures, pvcstored beside ZooKeeper: tests/store/bench.py, which the store's tests keep."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench.tools.figures import begin
from tests.store import bench


def main(argv: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    begin("bench.store", argv)
    return bench.main()


if __name__ == "__main__":
    sys.exit(main())

"""A daemon has room for all that its clients may have open at once."""

from __future__ import annotations

import subprocess
import sys

from pvc_api_falcon.settings import Settings
from pvc_core.daemon.channel import QUESTIONS_AT_ONCE

LOW = "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (256, {hard}))"
ASKED = "from pvc_core.daemon.files import allow_many_files as f; f(); f(); print(r.getrlimit(r.RLIMIT_NOFILE))"


def test_a_node_has_room_for_all_an_api_may_follow() -> None:
    api = Settings()
    assert api.streams + 2 * api.sessions + api.workers < QUESTIONS_AT_ONCE


def test_it_may_open_more_files_than_services_begin_with() -> None:
    for hard, then in ((4096, 4096), (300, 300), (256, 256)):
        code = f"{LOW.format(hard=hard)}; {ASKED}"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        assert found == str((then, hard))

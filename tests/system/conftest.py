"""What the system tests share: bare HTTP to the lab of the run."""

from __future__ import annotations

import pytest

from tests.lab_fixture import RunningLab
from tests.system.talk import Talk


@pytest.fixture(scope="session")
def talk(lab: RunningLab) -> Talk:
    return Talk(lab)

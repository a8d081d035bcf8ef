"""For all tests: no example of hypothesis is judged by the time it takes, for machines differ."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("pvc", deadline=None)
settings.load_profile("pvc")

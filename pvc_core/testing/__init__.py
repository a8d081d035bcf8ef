# SPDX-License-Identifier: LGPL-3.0-or-later
"""For tests, here and at plugin authors': fakes that keep real state, and the suites every implementation must pass."""

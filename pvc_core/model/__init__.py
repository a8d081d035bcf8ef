# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the cluster is made of, as frozen dataclasses and enums. No I/O, no clock, no plain dicts of records."""

# SPDX-License-Identifier: LGPL-3.0-or-later
"""What network plugins share, ours and others': a library without entry point, so that no plugin imports another."""

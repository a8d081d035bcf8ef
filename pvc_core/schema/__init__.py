# SPDX-License-Identifier: LGPL-3.0-or-later
"""The only place where models meet plain data: store records (records.py), pvc.yaml (config.py), shared fields
(fields.py).
"""

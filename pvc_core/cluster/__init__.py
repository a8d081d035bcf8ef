"""Meaning on top of the store: every key (layout), typed reads and writes (repository), the picture in memory
(view).
"""

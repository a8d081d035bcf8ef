"""pvcguard: heartbeat, self-fencing deadline, launch permits, watchdog. A small root process without plugins, locked in
memory: it goes on while pvcnoded restarts, hangs or does not start. docs/guard.md tells the whole story; client.py is
how pvcnoded speaks to it, asking.py how one node's guard is asked by another's.
"""

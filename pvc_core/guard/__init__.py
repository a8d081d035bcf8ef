"""pvcguard: heartbeat, self-fencing deadline, launch permits. A small root process without plugins, locked in memory.

It goes on while pvcnoded restarts, hangs or does not start. Freezing and killing guests, the watchdog and answers on
the network come with high availability. docs/guard.md tells the whole story; client.py is how pvcnoded speaks to it.
"""

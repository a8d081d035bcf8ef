"""The hardware watchdog as a plugin: its settings. Who feeds it is pvcguard."""

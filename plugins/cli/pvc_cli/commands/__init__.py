"""The command tree, one file per group. A command asks the API, and prints with views/; it decides nothing."""

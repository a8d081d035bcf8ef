"""What a node answers to `pvc cluster check`: questions about itself, its servers and its paths. It changes nothing.

What is asked of whom, and what the answers mean together, is services/check.py's.
"""

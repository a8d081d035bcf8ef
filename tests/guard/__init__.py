"""Tests of pvcguard: pure parts on a hand-moved clock, the process itself against a real store."""

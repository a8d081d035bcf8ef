"""Measurements, run by script/bench. One file here is one bench that prints its own figures; tools/ is what they share.

A bench never fails on a time: this kind of machine varies twofold from day to day. It puts what is compared side by
side in one run and prints the ratio. docs/benchmarks.md keeps the figures, with goals and commands.
"""

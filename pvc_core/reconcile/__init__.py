"""One level-triggered engine and one file per kind: read what is wanted, look at the world, take one step, say how it
went.
"""

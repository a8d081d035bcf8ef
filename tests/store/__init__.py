"""Tests of the store: the suite on three servers, pvcstored itself, and kazoo's own tests on it."""

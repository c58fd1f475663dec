"""Tests of the documentation; they run with `make docs-test`."""

"""Tests of the pure core, file by file."""

"""Tests of what is kept and how, file by file."""

"""Clients of the nsqd under test."""

from tests.testing.raw import connect  # noqa: F401  # a fixture

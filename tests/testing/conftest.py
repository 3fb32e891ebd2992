"""Clients of the nsqd under test, and a certificate for it."""

from tests.net.conftest import _authority, server_certificate  # noqa: F401  # fixtures
from tests.testing.raw import connect  # noqa: F401  # a fixture

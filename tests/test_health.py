"""Health is one flag: the error of the last write, cleared by the next that succeeds."""

from nsqlite.health import Health


def test_health_is_ok_at_first() -> None:
    """Nothing failed yet."""
    assert Health().text == "OK"


def test_last_error_counts_until_a_write_succeeds() -> None:
    """A later error replaces an earlier one; a success clears both."""
    health = Health()

    health.failed("first")
    health.failed("second")
    assert health.text == "NOK - second"
    health.succeeded()

    assert health.text == "OK"

"""Frames as bytes."""

from nsqlite.net.protocol import wire


def test_frames_are_as_nsq_draws_them() -> None:
    """Size of type and data, type, data."""
    assert bytes.fromhex("00000006 00000000 4f4b") == wire.OK
    assert bytes.fromhex("0000000f 00000000") + b"_heartbeat_" == wire.HEARTBEAT
    assert wire.frame(wire.ERROR, b"E_INVALID x") == bytes.fromhex("0000000f 00000001") + b"E_INVALID x"

"""What lies between a socket and the protocol once IDENTIFY has asked for it: TLS, compression, or one in the other."""

from __future__ import annotations

from nsqlite.net.protocol.compression import Layer


class Layers:
    """Layers on one another, the one next to the socket first."""

    __slots__ = ("_layers",)

    def __init__(self) -> None:
        self._layers: list[Layer] = []

    def __bool__(self) -> bool:
        return bool(self._layers)

    def add(self, layer: Layer) -> None:
        """Put a layer on top."""
        self._layers.append(layer)

    def clear(self) -> None:
        """Speak in clear text again."""
        self._layers.clear()

    @property
    def buffered_bytes(self) -> int:
        """Bytes that arrived and were not read."""
        return sum(layer.buffered_bytes for layer in self._layers)

    def feed(self, data: bytes) -> None:
        """Take what the socket gave."""
        self._layers[0].feed(data)

    def read(self, limit: int) -> bytes:
        """Up to `limit` plain bytes; b"" when more must arrive. Never holds more than that in plain.

        Raises:
            LayerError: What arrived is not what was agreed on.
        """
        return self._read(len(self._layers) - 1, limit)

    def _read(self, index: int, limit: int) -> bytes:
        layer = self._layers[index]
        data = layer.read(limit)
        while not data and index:
            below = self._read(index - 1, limit)
            if not below:
                break
            layer.feed(below)
            data = layer.read(limit)
        return data

    def encode(self, data: bytes) -> bytes:
        """What the socket is to be given for some plain bytes."""
        for layer in reversed(self._layers):
            data = layer.encode(data)
        return data

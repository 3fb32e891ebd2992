"""How fast bench_reader gets messages out of a server whose backlog does not run dry: for two questions."""

from benchmarks.net.clients import CHANNEL, TOPIC, bench_reader, loadgen, subscribe_once
from benchmarks.net.match import Figures
from benchmarks.net.servers import Server, arrive

# Messages a second to begin with; a contender that reads faster finds its own.
EXPECTED = {"nsqd B": 500_000, "nsqd C": 220_000}
EXPECTED_OF_NODE = 800_000
MOST = 20_000_000


class Reading:
    """Fills, lets all come to rest, reads; remembers for each contender how much lasts long enough."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stocks: dict[str, int] = {}

    def __call__(self, server: Server) -> Figures:
        """Measure one server.

        A reading that ran dry does not count: it is repeated with twice as much on the same server.

        Raises:
            RuntimeError: If 20 million messages are not enough.
        """
        subscribe_once(server, TOPIC, CHANNEL)
        expected = int(EXPECTED.get(server.name, EXPECTED_OF_NODE) * self._seconds)
        stock = self._stocks.setdefault(server.name, max(expected, 100_000))
        while stock <= MOST:
            waiting = max(0, server.depth(TOPIC, CHANNEL))
            loadgen("fill", server, topic=TOPIC, count=stock)
            arrive(server, TOPIC, CHANNEL, waiting + stock)
            server.settle()
            rate = bench_reader(server, self._seconds)
            if server.depth(TOPIC, CHANNEL) > 0:
                return {"rate": rate}
            stock = self._stocks[server.name] = 2 * stock
        raise RuntimeError(f"{server.name} reads {MOST:,} messages in {self._seconds} seconds")

"""nsqd's HTTP API: its endpoints, a file for each of its concerns."""

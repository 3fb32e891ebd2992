"""NSQ's protocol as values: bytes to commands, answers to bytes. Knows no socket, loop, thread or clock."""

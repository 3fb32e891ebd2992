"""Asks every question about the listener, or those named. Exits with 1 if a row falls short or fails."""

import sys

from benchmarks.net import asking

# In the order of the table.
QUESTIONS = (
    "writer_memory",
    "writer_commit",
    "writer_fsync",
    "reader_memory",
    "reader_settled",
    "writer_one",
    "both_ways",
    "fifty",
    "latency",
    "waiting",
    "idle",
)


if __name__ == "__main__":
    sys.exit(asking.main("benchmarks.net", QUESTIONS, __doc__ or ""))

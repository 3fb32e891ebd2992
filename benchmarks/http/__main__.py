"""Asks every question about the HTTP API, or those named. Exits with 1 if a row falls short or fails."""

import sys

from benchmarks.http.wrk import require_wrk
from benchmarks.net import asking

# In the order of the table.
QUESTIONS = (
    "pub",
    "mpub",
    "stats",
    "stats_stall",
    "metrics",
    "metrics_stall",
)


if __name__ == "__main__":
    require_wrk()
    sys.exit(asking.main("benchmarks.http", QUESTIONS, __doc__ or "", has_http=True))

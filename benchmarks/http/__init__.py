"""Questions about the HTTP API, each answered beside the real nsqd in one run; see benchmarks.net.

``python -m benchmarks.http`` asks them all; ``--rows pub,mpub`` asks some. Requests come from wrk, which is
not a part of NSQ: Debian and Homebrew have it by that name.
"""

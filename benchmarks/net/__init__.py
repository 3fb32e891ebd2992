"""Questions about the listener, each answered beside the real nsqd in one run, with NSQ's own programs.

``python -m benchmarks.net`` asks them all; ``--rows writer_memory,latency`` asks some. The servers are processes
of their own on both sides, and the load comes from programs in Go that know no difference between them:
bench_writer and bench_reader as NSQ ships them, and tests/interop/go/loadgen for what these cannot do.
"""

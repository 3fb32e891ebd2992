"""Questions about speed and memory, one per file, each answered beside its rival in one run.

``python -m benchmarks`` asks them all; ``--rows publish_one,waiting`` asks some.
"""

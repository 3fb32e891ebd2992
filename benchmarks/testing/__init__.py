"""Questions about nsqlite.testing: what it costs in other people's test suites, beside what they could use in its place.

``python -m benchmarks.testing`` asks them all; ``--rows in_process,importing`` asks some. Tests are run by pytest in a
process of its own, and are as long as pytest says they are.
"""

"""Questions about nsqlite.testing: its cost in other people's tests, beside what they could use instead.

``python -m benchmarks.testing`` asks them all; ``--rows in_process,importing`` asks some. Tests are run by pytest in a
process of its own, and are as long as pytest says they are.
"""

"""A node beside a plain model of it: random operations, every answer compared.

``model`` says what NSQ's topics and channels are, in lists and dicts. ``pair``
drives a real node and the model together through the public API. On that stand
the Hypothesis machine (``test_machine``), the seeded simulation of interleaved
threads (``scheduler``, ``simulation``, ``test_simulation``) and the named cases
(``test_cases``). ``python -m tests.properties --examples N`` runs longer.
"""

"""What every test has: Hypothesis without a stop-watch, and failures that can be run again."""

import os

from hypothesis import HealthCheck, Phase, settings

# The machine is shared, so how long an example takes says nothing.
# A failing example prints the line that repeats it.
settings.register_profile(
    "house",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
    # Without Phase.explain: it traces every line, which makes a machine with threads and a disk crawl.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink],
)
settings.register_profile("thorough", parent=settings.get_profile("house"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))

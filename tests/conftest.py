"""How Hypothesis works here; ``--hypothesis-profile=default`` tries twice as much."""

from hypothesis import HealthCheck, settings

# A busy machine is slow, not wrong.
settings.register_profile(
    "quick", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("quick")

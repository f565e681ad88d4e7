"""Hypothesis: few examples, and no deadline of its own (a busy machine is no bug; pytest has a timeout)."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "meshnode", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("meshnode")

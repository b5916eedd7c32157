"""The whole unit suite stays under half a minute, on a busy machine too; `HYPOTHESIS_PROFILE=thorough` looks closer."""

import os

from hypothesis import settings

settings.register_profile("unit", max_examples=50, deadline=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "unit"))

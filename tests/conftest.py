"""Settings of all tests."""

from hypothesis import settings

# Tests are not timed: a first call may import, compile or wait for a busy machine.
settings.register_profile("wavedil", deadline=None)
settings.load_profile("wavedil")

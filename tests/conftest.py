"""How hypothesis works in all tests."""

from hypothesis import settings

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("chargera", deadline=None, print_blob=True)
settings.load_profile("chargera")

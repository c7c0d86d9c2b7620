"""The demo's tests are run by test_own_settings.py: they need the demo's settings."""

collect_ignore = ["suite"]

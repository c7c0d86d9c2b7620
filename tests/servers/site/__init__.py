"""The project that the servers under test serve."""

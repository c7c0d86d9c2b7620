"""The package while what it runs on fails."""

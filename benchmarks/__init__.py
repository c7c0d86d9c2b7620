"""Benchmarks of django_sse beside its peers. See docs/benchmarks.md."""

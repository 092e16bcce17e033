"""Metrics with intervals, and the report."""

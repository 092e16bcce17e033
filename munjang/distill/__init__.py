"""Distillation planned: which students are tried, how long, and which one is taken."""

"""Augmented SBERT: candidate pairs and silver labels."""

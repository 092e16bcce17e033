"""Exploring what a heap of sentences holds: paraphrases, translations, duplicates, communities."""

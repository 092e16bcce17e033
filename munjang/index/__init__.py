"""Sentences and vectors on disk, and search with reranking."""

"""Stages, fingerprints and runs: skip what is done, resume what is not, explain both."""

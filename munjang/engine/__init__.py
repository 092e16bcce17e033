"""The two ways to run a model over many texts: encoders and scorers."""

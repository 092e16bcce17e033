"""Training of bi-encoders and cross-encoders."""

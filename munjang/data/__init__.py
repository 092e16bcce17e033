"""Rows, readers, the catalogue of known data sets, and the data half of the doctor."""

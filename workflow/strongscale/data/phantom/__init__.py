"""Artificial scans in LUNA16's form."""

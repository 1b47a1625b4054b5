"""LUNA16 from the records of its publisher."""

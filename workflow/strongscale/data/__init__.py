"""Scans to cubes to data sets: reading, cutting, splitting, judging, downloading, and phantoms.

To be used: dataset (load, central_section, the losses of trivial outputs), inspect.
"""

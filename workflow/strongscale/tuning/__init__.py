"""What tries settings before a study's own runs begin: the search for the edge, and for the rate of each batch size.

Each trial is an ordinary run in its own folder. To be used: trials; and seeds, bisection, search, sequence, halving and budget,
which know nothing of files.
"""

"""What can be concluded from a few seeds: shares, paired ratios, many claims at once. Numbers alone; it knows no study.

To be used: shares, spread, contrast, outcome, by analysis.
"""

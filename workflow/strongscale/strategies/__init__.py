"""The scaling strategies: one file each, with one subclass of `Strategy`. To add one, add a file.

Nothing heavy is imported here, for a login node asks strategies for their plans. To be used: base (Strategy, Plan,
Progress, Statistics).
"""

"""What is measured of a machine, apart from any run: one worker's seconds, and what joins two ranks.

Nothing of it is imported by other rooms: its stages are timings and network.
"""

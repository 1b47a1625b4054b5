"""How long things take: stopwatches, the two clocks, the modelled network and the measured one.

To be used: clock and stopwatch by training, network.
"""

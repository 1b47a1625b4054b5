"""Two data sets side by side, nodules of the same size paired: how much one resembles the other."""

"""The paper's machine, reconstructed from what it states: readings of its tables, the page about them, and the shipped timings."""

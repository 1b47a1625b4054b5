"""What finished runs say: tables, figures, verdicts, the learning rate's edge, the pilots' target, the proof of exactness.

To be used: load, edge; nothing here is used by training.
"""

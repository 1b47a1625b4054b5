"""What runs a stage where it runs: what schedulers are asked for, how ranks are started, receipts, and failures in words.

To be used: request, receipts, launchers; scheduler's states and submissions by status.
"""

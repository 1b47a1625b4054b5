"""What measured runs advise for the next ones: the law of batch size, with the range in which it may be asked.

To be used: law, held_out, domain, which know no study and no file.
"""

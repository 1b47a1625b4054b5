"""Every strategy on several tasks, on one page: who is fastest, what is tied, where each fails, and CROSSBOW's claims.

To be used: page. It reads finished studies, and nothing uses it.
"""

"""What every room uses and what knows none of them: errors, files, command lines, typed settings, parts, tables, style.

All of it may be used everywhere.
"""

"""From the cells of a study to its tables, figures and verdicts. No stage here trains anything."""

"""What a user writes down: studies, data sets, the site, and the cells that follow from a study.

Nothing heavy is imported here, for a login node reads the settings. To be used: config, config_file, cells, site.
"""

"""From scans to a data set: artificial scans, reading, cubes around nodules, the split."""

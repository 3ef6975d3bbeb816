"""StatisticsGen: statistics of a table, exact or of a sample."""

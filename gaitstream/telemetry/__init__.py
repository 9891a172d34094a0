"""What a run counts, and how it is shown: statistics, metrics, the live table."""

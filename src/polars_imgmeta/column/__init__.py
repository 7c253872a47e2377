"""The struct column: what it looks like, what it lacks, and how that is filled in."""

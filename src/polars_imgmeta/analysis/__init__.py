"""What the values mean together: which images are the same, where a model fails."""

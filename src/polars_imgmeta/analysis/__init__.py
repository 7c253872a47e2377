"""What the properties of a data set say: issues, thresholds, drift. No image is read here."""

"""What the properties of a data set say: issues, duplicates, drift. No image is read here."""

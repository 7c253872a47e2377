"""Where images are, and how their bytes get here."""

"""Extractions that run for hours, survive a kill at any moment, and go on where they ended."""

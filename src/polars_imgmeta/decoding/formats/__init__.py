"""Formats that are parsed here because no library does, or none that can be trusted."""

"""Parsers of single formats, where no library reads them or none reliably."""

"""The properties: their table and their formulas."""

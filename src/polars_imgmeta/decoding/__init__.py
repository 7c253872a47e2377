"""Decoding of encoded images into headers and pixels."""

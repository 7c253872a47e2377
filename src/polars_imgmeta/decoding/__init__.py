"""From encoded bytes to headers and pixels."""

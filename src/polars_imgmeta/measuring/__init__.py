"""From images to the values of their properties."""

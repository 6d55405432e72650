"""How does the loss curve at a point? Products, spectrum, density, map, and directions that need derivatives."""

"""How the loss curves at a point: products, spectrum, density, map, and directions that need derivatives."""

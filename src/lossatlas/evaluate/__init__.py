"""What the values at a block of points are, as fast as the machine allows."""

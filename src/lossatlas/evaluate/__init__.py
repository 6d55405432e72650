"""What are the values at a block of points? Found as fast as the machine allows."""

"""Where in parameter space? Filters, directions, and charts that turn coordinates into parameters."""

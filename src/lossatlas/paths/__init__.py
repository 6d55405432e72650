"""Which way did a training run go? Its path is recorded, read back, and drawn in its principal plane."""

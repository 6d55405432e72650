"""What was found: the Landscape, the run folder it grows in, and the original code's files."""

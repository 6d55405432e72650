"""What a browser gets: a page over folders of runs, finished or still growing, served on this machine alone."""

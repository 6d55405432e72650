"""What does a browser get? A page over folders of runs, finished or still growing, served to this machine only."""

"""Executors that evaluate blocks in other processes, here or on other machines."""

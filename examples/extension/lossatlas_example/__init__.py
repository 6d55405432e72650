"""What another distribution brings to lossatlas, a file for each door."""

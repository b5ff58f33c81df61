"""What makes a backbone learn, on one process or many, and what is kept of it."""

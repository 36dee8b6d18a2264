"""Where things lie, what runs where, what is stored and what it came from."""

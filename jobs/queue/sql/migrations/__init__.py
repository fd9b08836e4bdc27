"""How the tables of a queue came to be: one step a file, never changed once it is released."""

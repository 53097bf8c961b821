"""The settings: the table of variables, how each is read, and the frozen value of all."""

"""The settings: the declaration of each variable, its parser, and the frozen value of all."""

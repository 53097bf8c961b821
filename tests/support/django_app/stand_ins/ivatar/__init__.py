"""Stands for the part of the application in which its own generator is."""

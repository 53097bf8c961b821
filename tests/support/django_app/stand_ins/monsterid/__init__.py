"""Stands for the monsterid package."""

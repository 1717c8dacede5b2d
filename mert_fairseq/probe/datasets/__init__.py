"""Readers of the published datasets, each in the layout that it is distributed in."""

"""Showing what changes while a cell runs, no more often than a front end can take."""

"""Requests as data: what must be refused, and what is odd but must work."""

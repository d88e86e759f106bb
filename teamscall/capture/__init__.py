"""Calls on disk: the format, its writer and reader, and what is made of a file.

Refuses to know vendors.
"""

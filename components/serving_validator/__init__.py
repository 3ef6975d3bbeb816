"""Checks that the exports can be served before they are pushed."""

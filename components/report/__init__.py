"""Report: everything that a run measured, as a page for people."""

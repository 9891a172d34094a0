"""Looks at a site and says what to set: what was seen, what follows from it, the file that says so."""

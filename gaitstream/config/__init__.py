"""`cams.yaml`: its schema, reading, watching, and the secrets in it."""

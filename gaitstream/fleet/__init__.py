"""One site on many machines: which worker has which camera, and who finds whose events.

PostgreSQL remembers, workers take what they can carry, and whatever starts processes (Ray, systemd,
Kubernetes) starts them again. Pictures never leave the machine that reads them.
"""

"""The vocabulary shared by every layer: small frozen types, errors, seeds. No heavy imports.

Only ``manifest`` and ``environment`` do I/O: the first reads and writes checkpoint reports, the second sets environment
variables.
"""

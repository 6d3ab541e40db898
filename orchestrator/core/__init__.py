"""The vocabulary that every layer shares: small frozen types, errors and seeds. No I/O, no heavy imports."""

"""The process and the machine: environment, disk, files, secrets."""

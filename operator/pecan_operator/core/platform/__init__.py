"""The shared services, one file each."""

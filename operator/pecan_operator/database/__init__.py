"""The database Job of a platform: from an empty PostgreSQL with PostGIS to one that PEcAn and the operator can use."""

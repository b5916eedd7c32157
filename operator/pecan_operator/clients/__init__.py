"""Input and output: the cluster, the broker and the database. Clients decide nothing."""

"""Files that the operator hands to the cluster as they are."""

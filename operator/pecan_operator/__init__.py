"""The pecan-operator: PEcAn on Kubernetes."""

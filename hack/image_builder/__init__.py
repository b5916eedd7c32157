"""What hack/images is made of."""

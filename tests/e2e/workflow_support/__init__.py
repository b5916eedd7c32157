"""What the tests of workflows share: a namespace with a platform, the journal of the test model, manifests."""

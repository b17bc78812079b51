"""The steps from the tree of a checkpoint to the tensors of a record: pure functions on names and lazy tensors."""

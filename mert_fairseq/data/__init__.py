"""Reading: audio windows, manifests, the target store and the dataset that joins them."""

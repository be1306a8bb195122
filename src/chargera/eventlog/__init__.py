"""The sequencer: append entries to the tree, write tiles, sign heads, serve them."""

"""Where a node's promises are kept: in memory, or in a journal and LMDB."""

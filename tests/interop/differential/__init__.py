"""One stream of requests and commands, valid and not, sent to a real nsqd and to a node, and what both answer."""

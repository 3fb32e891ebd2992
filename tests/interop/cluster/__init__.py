"""What the tests of whole clusters are told in: members, NSQ's own tools, nsqadmin."""

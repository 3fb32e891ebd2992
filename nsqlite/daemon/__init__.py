"""The daemons: `nsqlite nsqd` and `nsqlite nsqlookupd`, between the command and the listeners."""

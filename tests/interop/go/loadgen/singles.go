package main

import "sync/atomic"

// singles publishes one message at a time from many connections, each waiting for its OK.
func singles(load Load) (Result, error) {
	var published atomic.Int64
	failed := make(chan error, 1)
	command := pub(load.topic, make([]byte, load.size))
	conns := make([]*Conn, load.connections)
	for number := range conns {
		conn, err := dial(load.address, publisher())
		if err != nil {
			return nil, err
		}
		conns[number] = conn
	}
	for _, conn := range conns {
		conn := conn
		go report(failed, func() error { return conn.repeat(command, 1, &published) })
	}
	rates, err := watch(load, failed, &published)
	if err != nil {
		return nil, err
	}
	return Result{"published_per_second": rates[0]}, nil
}

package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// idle holds many consumers of one channel without messages, until standard input ends.
//
// It prints "ready" once all have subscribed. They answer heartbeats, and one that is closed is a failure.
func idle(load Load) (Result, error) {
	var heartbeats atomic.Int64
	failed := make(chan error, 1)
	identity := consumer()
	identity["heartbeat_interval"] = load.heartbeat.Milliseconds()
	for number := 0; number < load.connections; number++ {
		conn, err := dial(load.address, identity)
		if err == nil {
			err = conn.subscribe(load.topic, channelName(0), load.rdy)
		}
		if err != nil {
			return nil, fmt.Errorf("consumer %d: %w", number, err)
		}
		go report(failed, func() error { return conn.beat(&heartbeats) })
	}
	fmt.Println("ready")
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case err := <-failed:
		return nil, err
	case <-ended:
		return Result{"heartbeats": float64(heartbeats.Load())}, nil
	}
}

// beat answers heartbeats.
func (c *Conn) beat(heartbeats *atomic.Int64) error {
	for {
		kind, data, err := c.frame()
		if err != nil {
			return err
		}
		if isHeartbeat(kind, data) {
			heartbeats.Add(1)
			if err := c.nop(); err != nil {
				return err
			}
		}
	}
}

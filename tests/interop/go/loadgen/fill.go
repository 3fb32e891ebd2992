package main

import (
	"bytes"
	"sync/atomic"
	"time"
)

// fill publishes exactly count messages, in batches, over all connections at once.
func fill(load Load) (Result, error) {
	var left atomic.Int64
	left.Store(int64(load.count))
	full := mpub(load.topic, load.batch, load.size)
	started := time.Now()
	err := together(load.connections, func(int) error {
		conn, err := dial(load.address, publisher())
		if err != nil {
			return err
		}
		for {
			command := full
			rest := left.Add(-int64(load.batch))
			switch {
			case rest <= -int64(load.batch):
				return nil
			case rest < 0:
				command = mpub(load.topic, load.batch+int(rest), load.size)
			}
			if err := conn.call(command); err != nil {
				return err
			}
		}
	})
	return Result{"published": float64(load.count), "seconds": time.Since(started).Seconds()}, err
}

// call sends a command and waits for its OK.
func (c *Conn) call(command []byte) error {
	if _, err := bytes.NewReader(command).WriteTo(c.socket); err != nil {
		return err
	}
	return c.flushForOK()
}

// together runs work as often at once and returns the first error, or nil once all have ended.
func together(count int, work func(number int) error) error {
	ended := make(chan error, count)
	for number := 0; number < count; number++ {
		go func(number int) { ended <- work(number) }(number)
	}
	for ; count > 0; count-- {
		if err := <-ended; err != nil {
			return err
		}
	}
	return nil
}

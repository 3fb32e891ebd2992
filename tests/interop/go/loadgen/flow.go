package main

import (
	"sync/atomic"
	"time"
)

// flow publishes batches as fast as they are taken, while each channel's one consumer finishes what it gets.
//
// What counts is messages finished a second, over all channels; a message counts when its FIN is written,
// which the RDY ceiling keeps close to when it is read.
func flow(load Load) (Result, error) {
	var published, finished atomic.Int64
	failed := make(chan error, 1)
	for number := 0; number < load.channels; number++ { // first, so that each channel gets every message
		conn, err := dial(load.address, consumer())
		if err == nil {
			err = conn.subscribe(load.topic, channelName(number), load.rdy)
		}
		if err != nil {
			return nil, err
		}
		go report(failed, func() error { return conn.consume(&finished) })
	}
	command := mpub(load.topic, load.batch, load.size)
	for number := 0; number < load.connections; number++ {
		conn, err := dial(load.address, publisher())
		if err != nil {
			return nil, err
		}
		go report(failed, func() error { return conn.repeat(command, load.batch, &published) })
	}
	rates, err := watch(load, failed, &published, &finished)
	if err != nil {
		return nil, err
	}
	return Result{"published_per_second": rates[0], "finished_per_second": rates[1]}, nil
}

// consume finishes every message, and flushes when the server has nothing more to read at the moment.
func (c *Conn) consume(finished *atomic.Int64) error {
	for {
		kind, data, err := c.frame()
		if err != nil {
			return err
		}
		switch {
		case kind == frameMessage:
			c.finish(data)
			finished.Add(1)
		case isHeartbeat(kind, data):
			if err := c.nop(); err != nil {
				return err
			}
		}
		if c.idle() {
			if err := c.out.Flush(); err != nil {
				return err
			}
		}
	}
}

// repeat sends one command of so many messages again and again, each once the one before is answered.
func (c *Conn) repeat(command []byte, messages int, published *atomic.Int64) error {
	for {
		if err := c.call(command); err != nil {
			return err
		}
		published.Add(int64(messages))
	}
}

// watch lets the work warm up, then returns by how much each counter grew a second.
func watch(load Load, failed <-chan error, counters ...*atomic.Int64) ([]float64, error) {
	if err := wait(failed, load.warmUp); err != nil {
		return nil, err
	}
	before := make([]int64, len(counters))
	for i, counter := range counters {
		before[i] = counter.Load()
	}
	started := time.Now()
	if err := wait(failed, time.Duration(load.seconds*float64(time.Second))); err != nil {
		return nil, err
	}
	elapsed := time.Since(started).Seconds()
	rates := make([]float64, len(counters))
	for i, counter := range counters {
		rates[i] = float64(counter.Load()-before[i]) / elapsed
	}
	return rates, nil
}

// wait returns early with the error that ended a goroutine.
func wait(failed <-chan error, duration time.Duration) error {
	select {
	case err := <-failed:
		return err
	case <-time.After(duration):
		return nil
	}
}

// report hands on the error that ends work, unless another came first.
func report(failed chan<- error, work func() error) {
	select {
	case failed <- work():
	default:
	}
}

package main

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sort"
	"syscall"
	"time"
)

const grace = 10 * time.Second // for what was sent last; far beyond what any message may take

// latency sends messages that carry the time of their PUB, and reads what has passed when they arrive.
//
// The publisher sends by the clock and never waits for an OK, so a server that stalls is seen by every
// message that the stall delayed. The consumer has output_buffer_size -1.
func latency(load Load) (Result, error) {
	in, out, err := pair(load)
	if err != nil {
		return nil, err
	}
	skip := int(load.warmUp.Seconds() * float64(load.rate))
	total := skip + int(load.seconds*float64(load.rate))
	failed := make(chan error, 1)
	received := make(chan []time.Duration, 1)
	origin := time.Now()
	go report(failed, func() error { return in.receive(origin, total, received) })
	go report(failed, out.drain)
	if err := out.publishTimed(origin, load, total); err != nil {
		return nil, err
	}
	select {
	case err := <-failed:
		return nil, err
	case took := <-received:
		return quantiles(took[skip:]), nil
	case <-time.After(grace):
		return nil, fmt.Errorf("not all of %d messages came within %s", total, grace)
	}
}

// pair connects the consumer, then the publisher.
func pair(load Load) (in, out *Conn, err error) {
	if in, err = dial(load.address, withoutBuffer(consumer())); err != nil {
		return nil, nil, err
	}
	if err = in.subscribe(load.topic, channelName(0), load.rdy); err != nil {
		return nil, nil, err
	}
	out, err = dial(load.address, publisher())
	return in, out, err
}

func withoutBuffer(identity map[string]any) map[string]any {
	identity["output_buffer_size"] = -1
	return identity
}

// publishTimed keeps its rate on a thread of its own: the runtime's timers are too coarse for a millisecond.
func (c *Conn) publishTimed(origin time.Time, load Load, total int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	command := pub(load.topic, make([]byte, load.size))
	stamp := command[len(command)-load.size:]
	first := time.Now()
	for number := 0; number < total; number++ {
		due := first.Add(time.Duration(number) * time.Second / time.Duration(load.rate))
		if rest := time.Until(due); rest > 0 {
			pause := syscall.NsecToTimespec(int64(rest))
			syscall.Nanosleep(&pause, nil) // woken early by a signal, it sends a little early
		}
		binary.BigEndian.PutUint64(stamp, uint64(time.Since(origin)))
		if _, err := c.socket.Write(command); err != nil {
			return err
		}
	}
	return nil
}

// drain reads the publisher's answers, which nobody waits for.
func (c *Conn) drain() error {
	for {
		if _, _, err := c.frame(); err != nil {
			return err
		}
	}
}

// receive finishes each message at once and notes how long it was under way.
func (c *Conn) receive(origin time.Time, total int, received chan<- []time.Duration) error {
	took := make([]time.Duration, 0, total)
	for len(took) < total {
		kind, data, err := c.frame()
		if err != nil {
			return err
		}
		if kind == frameMessage {
			sent := time.Duration(binary.BigEndian.Uint64(data[bodyOffset:]))
			took = append(took, time.Since(origin)-sent)
			c.finish(data)
		}
		if err := c.out.Flush(); err != nil {
			return err
		}
	}
	received <- took
	select {} // returning would be read as a failure
}

func quantiles(took []time.Duration) Result {
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	at := func(share float64) float64 {
		return float64(took[int(share*float64(len(took)-1))]) / float64(time.Microsecond)
	}
	return Result{"p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999), "max_us": at(1), "received": float64(len(took))}
}

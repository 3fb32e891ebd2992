// Loadgen puts one kind of load on an NSQ server and prints what came of it, as one line of JSON.
//
// It knows frames and commands and no server: what serves the address is measured with the same program
// as its rival, on the scheduler's own number of threads. Every mode fails loudly: an error frame, a
// connection that ends or a message too few is exit code 1, never a slower figure.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"sort"
	"strings"
	"time"
)

// Load is what the command line asks for; not every mode looks at every field.
type Load struct {
	address     string
	topic       string
	channels    int
	connections int
	count       int
	size        int
	batch       int
	rdy         int
	rate        int
	heartbeat   time.Duration
	warmUp      time.Duration
	seconds     float64
}

// Result is a mode's figures by name.
type Result map[string]float64

var modes = map[string]func(Load) (Result, error){
	"fill":    fill,
	"flow":    flow,
	"idle":    idle,
	"latency": latency,
	"singles": singles,
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("loadgen: ")
	if len(os.Args) < 2 || modes[os.Args[1]] == nil {
		log.Fatalf("the first argument is one of: %s", strings.Join(names(), ", "))
	}
	load, err := parse(os.Args[1], os.Args[2:])
	if err != nil {
		log.Fatal(err)
	}
	result, err := modes[os.Args[1]](load)
	if err != nil {
		log.Fatalf("%s: %v", os.Args[1], err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}

func names() []string {
	all := make([]string, 0, len(modes))
	for name := range modes {
		all = append(all, name)
	}
	sort.Strings(all)
	return all
}

func parse(mode string, arguments []string) (Load, error) {
	var load Load
	flags := flag.NewFlagSet(mode, flag.ExitOnError)
	flags.StringVar(&load.address, "address", "127.0.0.1:4150", "where the server is")
	flags.StringVar(&load.topic, "topic", "bench", "topic; its channels are ch0, ch1, ...")
	flags.IntVar(&load.channels, "channels", 1, "flow: channels, each with one consumer")
	flags.IntVar(&load.connections, "connections", 2, "connections that publish, or that idle")
	flags.IntVar(&load.count, "count", 0, "fill: messages")
	flags.IntVar(&load.size, "size", 200, "bytes of a body")
	flags.IntVar(&load.batch, "batch", 200, "messages of an MPUB")
	flags.IntVar(&load.rdy, "rdy", 2500, "RDY of each consumer")
	flags.IntVar(&load.rate, "rate", 1000, "latency: messages a second")
	flags.DurationVar(&load.heartbeat, "heartbeat", time.Second, "idle: heartbeat interval")
	flags.DurationVar(&load.warmUp, "warm-up", 500*time.Millisecond, "how long it runs before it counts")
	flags.Float64Var(&load.seconds, "seconds", 4, "how long it counts")
	if err := flags.Parse(arguments); err != nil {
		return load, err
	}
	if flags.NArg() > 0 || load.size < 8 || load.batch < 1 || load.rate < 1 || load.connections < 1 {
		return load, fmt.Errorf("wrong arguments: %q", arguments)
	}
	return load, nil
}

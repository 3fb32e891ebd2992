// go-nsq's Producer and Consumer, under the command line of this folder's programs: see ../__init__.py.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"os"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"
)

type action struct {
	Do    string
	Ms    int
	Times int
}

type step struct {
	Do     string
	Bodies []string
	Ms     int
}

type options struct {
	Topic, Channel, Ca, Secret string
	Snappy, Deflate            bool
	HeartbeatMs                int `json:"heartbeat_ms"`
	InFlight                   int `json:"in_flight"`
	MsgTimeoutMs               int `json:"msg_timeout_ms"`
	BackoffMs                  int `json:"backoff_ms"`
	Lookupds                   []string
	Steps                      []step
	Plan                       map[string][]action
}

type line map[string]any

// ignored is whether there is a message without an answer.
var ignored atomic.Bool

// tell prints one line, at once: standard output has no buffer here.
func tell(said line) {
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		log.Fatal(err)
	}
}

func milliseconds(count int) time.Duration { return time.Duration(count) * time.Millisecond }

// config gives go-nsq's names to what both roles can be told.
func config(wanted options) *nsq.Config {
	made := nsq.NewConfig()
	made.Snappy, made.Deflate = wanted.Snappy, wanted.Deflate
	made.AuthSecret = wanted.Secret
	made.MsgTimeout = milliseconds(wanted.MsgTimeoutMs)
	if wanted.HeartbeatMs > 0 {
		made.HeartbeatInterval = milliseconds(wanted.HeartbeatMs)
	}
	if wanted.InFlight > 0 {
		made.MaxInFlight = wanted.InFlight
	}
	if wanted.BackoffMs > 0 {
		made.BackoffMultiplier = milliseconds(wanted.BackoffMs) / 2 // of which the first failure rests twice
	}
	if len(wanted.Lookupds) > 0 {
		made.LookupdPollInterval, made.LookupdPollJitter = time.Second, 0
	}
	if wanted.Ca != "" {
		made.TlsV1 = true
		if err := made.Set("tls_root_ca_file", wanted.Ca); err != nil {
			log.Fatal(err)
		}
	}
	return made
}

func decoded(texts []string) [][]byte {
	var bodies [][]byte
	for _, text := range texts {
		body, err := hex.DecodeString(text)
		if err != nil {
			log.Fatal(err)
		}
		bodies = append(bodies, body)
	}
	return bodies
}

func produce(address string, wanted options) {
	producer, err := nsq.NewProducer(address, config(wanted))
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Stop()
	for _, each := range wanted.Steps {
		bodies := decoded(each.Bodies)
		switch each.Do {
		case "pub":
			err = producer.Publish(wanted.Topic, bodies[0])
		case "mpub":
			err = producer.MultiPublish(wanted.Topic, bodies)
		default:
			err = producer.DeferredPublish(wanted.Topic, milliseconds(each.Ms), bodies[0])
		}
		if err != nil {
			tell(line{"error": err.Error()})
			return
		}
		tell(line{"answer": "OK"})
	}
}

func act(message *nsq.Message, planned action) {
	switch planned.Do {
	case "requeue":
		message.RequeueWithoutBackoff(milliseconds(planned.Ms))
	case "backoff":
		message.Requeue(milliseconds(planned.Ms))
	case "ignore":
		ignored.Store(true)
	case "touch":
		for range planned.Times {
			time.Sleep(milliseconds(planned.Ms))
			message.Touch()
		}
		message.Finish()
	default:
		message.Finish()
	}
}

func consume(address string, wanted options, input io.Reader) {
	consumer, err := nsq.NewConsumer(wanted.Topic, wanted.Channel, config(wanted))
	if err != nil {
		log.Fatal(err)
	}
	consumer.AddHandler(nsq.HandlerFunc(func(message *nsq.Message) error {
		message.DisableAutoResponse()
		body := hex.EncodeToString(message.Body)
		tell(line{
			"body": body, "attempts": message.Attempts, "id": string(message.ID[:]),
			"timestamp": message.Timestamp, "at": float64(time.Now().UnixMicro()) / 1e6,
		})
		planned := action{Do: "finish"}
		if steps := wanted.Plan[body]; int(message.Attempts) <= len(steps) {
			planned = steps[message.Attempts-1]
		}
		act(message, planned)
		return nil
	}))
	if len(wanted.Lookupds) > 0 {
		err = consumer.ConnectToNSQLookupds(wanted.Lookupds)
	} else {
		err = consumer.ConnectToNSQD(address)
	}
	if err != nil {
		tell(line{"error": err.Error()})
	}
	if _, err := io.Copy(io.Discard, input); err != nil {
		log.Fatal(err)
	}
	consumer.Stop()
	if !ignored.Load() { // or Stop would wait half a minute for an answer that never comes
		<-consumer.StopChan
	}
}

func main() {
	address := os.Args[1] + ":" + os.Args[2]
	var wanted options
	input := bufio.NewReader(os.Stdin)
	text, err := input.ReadBytes('\n')
	if err != nil {
		log.Fatal(err)
	}
	if err := json.Unmarshal(text, &wanted); err != nil {
		log.Fatal(err)
	}
	if os.Args[3] == "produce" {
		produce(address, wanted)
	} else {
		consume(address, wanted, input)
	}
}

package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	frameResponse = 0
	frameError    = 1
	frameMessage  = 2

	bufferBytes = 256 << 10 // no frame of a benchmark is larger
	idOffset    = 10        // of a message frame's data: timestamp 8, attempts 2, then the id
	bodyOffset  = idOffset + 16
)

// Conn is one connection, used by one goroutine at a time for each direction.
type Conn struct {
	socket net.Conn
	in     *bufio.Reader
	out    *bufio.Writer
	last   int // bytes of the frame handed out last, still in the buffer
}

// dial connects, identifies and waits until the server has answered.
func dial(address string, identity map[string]any) (*Conn, error) {
	socket, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	conn := &Conn{socket: socket, in: bufio.NewReaderSize(socket, bufferBytes), out: bufio.NewWriterSize(socket, 64<<10)}
	body, err := json.Marshal(identity)
	if err != nil {
		return nil, err
	}
	conn.out.WriteString("  V2IDENTIFY\n")
	conn.out.Write(sized(body))
	return conn, conn.flushForOK()
}

// subscribe consumes topic/channel with this ceiling of messages in flight.
func (c *Conn) subscribe(topic, channel string, rdy int) error {
	fmt.Fprintf(c.out, "SUB %s %s\n", topic, channel)
	if err := c.flushForOK(); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "RDY %d\n", rdy)
	return c.out.Flush()
}

// frame returns the next frame; data is valid until the next call.
func (c *Conn) frame() (kind uint32, data []byte, err error) {
	if _, err = c.in.Discard(c.last); err != nil {
		return 0, nil, err
	}
	c.last = 0
	head, err := c.in.Peek(8)
	if err != nil {
		return 0, nil, err
	}
	length := int(binary.BigEndian.Uint32(head)) + 4
	kind = binary.BigEndian.Uint32(head[4:])
	if length < 8 || length > bufferBytes {
		return 0, nil, fmt.Errorf("a frame of %d bytes", length)
	}
	whole, err := c.in.Peek(length)
	if err != nil {
		return 0, nil, err
	}
	c.last = length
	if kind == frameError {
		return kind, nil, errors.New(string(whole[8:]))
	}
	return kind, whole[8:], nil
}

// idle says that whatever the server has sent is read, so it is time to flush.
func (c *Conn) idle() bool {
	return c.in.Buffered() <= c.last
}

// flushForOK sends what is buffered and reads up to the answer, answering heartbeats on the way.
func (c *Conn) flushForOK() error {
	if err := c.out.Flush(); err != nil {
		return err
	}
	for {
		kind, data, err := c.frame()
		switch {
		case err != nil:
			return err
		case isHeartbeat(kind, data):
			if err := c.nop(); err != nil {
				return err
			}
		case kind == frameResponse:
			return nil
		}
	}
}

func (c *Conn) nop() error {
	c.out.WriteString("NOP\n")
	return c.out.Flush()
}

// finish answers a message frame; it is buffered.
func (c *Conn) finish(data []byte) {
	c.out.WriteString("FIN ")
	c.out.Write(data[idOffset:bodyOffset])
	c.out.WriteByte('\n')
}

func isHeartbeat(kind uint32, data []byte) bool {
	return kind == frameResponse && bytes.Equal(data, []byte("_heartbeat_"))
}

// sized is a body behind its length.
func sized(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// mpub is a whole MPUB command of equal bodies.
func mpub(topic string, batch, size int) []byte {
	content := binary.BigEndian.AppendUint32(nil, uint32(batch))
	for i := 0; i < batch; i++ {
		content = append(content, sized(make([]byte, size))...)
	}
	return append([]byte(fmt.Sprintf("MPUB %s\n", topic)), sized(content)...)
}

// pub is a whole PUB command.
func pub(topic string, body []byte) []byte {
	return append([]byte(fmt.Sprintf("PUB %s\n", topic)), sized(body)...)
}

func channelName(number int) string {
	return fmt.Sprintf("ch%d", number)
}

// publisher and consumer say who they are; everything else stays at the server's defaults.
func publisher() map[string]any {
	return map[string]any{"client_id": "loadgen", "user_agent": "loadgen/publisher"}
}
func consumer() map[string]any {
	return map[string]any{"client_id": "loadgen", "user_agent": "loadgen/consumer"}
}

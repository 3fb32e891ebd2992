"""Programs that use other people's NSQ clients, one for each client, all with the same command line.

``PROGRAM HOST PORT produce|consume``; the first line of standard input has the options, as JSON.
A program prints one JSON object a line. A producer does its steps, says what was answered, and ends. A consumer tells
every message it is handed, does with it what its plan says, and stops when its standard
input is closed.

Options of both: topic, ca (a file; then it speaks TLS), snappy, deflate, secret, heartbeat_ms.
Of a producer: steps, each ``{"do": "pub" | "mpub" | "dpub", "bodies": [...], "ms": delay}``.
Of a consumer: channel, lookupds (each host:port; asked once a second, instead of connecting to HOST and PORT;
pynsq and go-nsq only), in_flight, msg_timeout_ms, backoff_ms (how long it rests after a
failure), and plan: body -> what to do at the first attempt, the second, and so on, each
``{"do": "finish" | "requeue" | "backoff" | "touch" | "ignore", "ms": delay, "times": touches}``.
What the plan does not name is finished. Bodies are written in hexadecimal.
"""

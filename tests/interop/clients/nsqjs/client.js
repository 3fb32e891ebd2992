// nsqjs's Writer and Reader, under the command line of this folder's programs: see ../__init__.py.
'use strict'

const fs = require('node:fs')
const { performance } = require('node:perf_hooks')
const readline = require('node:readline')
const nsq = require('nsqjs')

const [host, port, role] = process.argv.slice(2)
let options

function tell(line) {
  const text = JSON.stringify(line, (_, value) => (typeof value === 'bigint' ? Number(value) : value))
  process.stdout.write(text + '\n')
}

// nsqjs's names for what both roles can be told.
function connection() {
  const named = {
    heartbeatInterval: (options.heartbeat_ms ?? 30000) / 1000,
    snappy: options.snappy ?? false,
    deflate: options.deflate ?? false,
  }
  if (options.ca) {
    Object.assign(named, { tls: true, ca: fs.readFileSync(options.ca) })
  }
  if (options.secret) {
    named.authSecret = options.secret
  }
  return named
}

function produce() {
  const writer = new nsq.Writer(host, Number(port), connection())
  const steps = [...options.steps]
  const next = (error) => {
    if (error) {
      return // the writer tells it too
    }
    const step = steps.shift()
    if (!step) {
      writer.close()
      input.close()
      return
    }
    const bodies = step.bodies.map((body) => Buffer.from(body, 'hex'))
    const answered = (failure) => {
      if (!failure) {
        tell({ answer: 'OK' })
      }
      next(failure)
    }
    if (step.do === 'dpub') {
      // deferPublish() takes one message, and hands on only a list.
      writer.deferPublish(options.topic, bodies, step.ms, answered)
    } else {
      writer.publish(options.topic, step.do === 'pub' ? bodies[0] : bodies, answered)
    }
  }
  writer.on('error', (error) => tell({ error: error.message }))
  writer.on('ready', next)
  writer.connect()
}

function act(message, action) {
  if (action.do === 'requeue' || action.do === 'backoff') {
    message.requeue(action.ms, action.do === 'backoff')
  } else if (action.do === 'touch' && action.times > 0) {
    setTimeout(() => {
      message.touch()
      act(message, { ...action, times: action.times - 1 })
    }, action.ms)
  } else if (action.do !== 'ignore') {
    message.finish()
  }
}

function consume() {
  const reader = new nsq.Reader(options.topic, options.channel, {
    ...connection(),
    nsqdTCPAddresses: [`${host}:${port}`],
    maxInFlight: options.in_flight ?? 1,
    messageTimeout: options.msg_timeout_ms ?? null,
    maxBackoffDuration: options.backoff_ms ? options.backoff_ms / 1000 / 0.028 : 128,
  })
  reader.on('error', (error) => tell({ error: error.message }))
  reader.on('message', (message) => {
    const { attempts, id, timestamp } = message
    const body = message.body.toString('hex')
    tell({ body, attempts, id, timestamp, at: (performance.timeOrigin + performance.now()) / 1000 })
    act(message, (options.plan?.[body] ?? [])[attempts - 1] ?? { do: 'finish' })
  })
  reader.connect()
  input.on('close', () => reader.close())
}

const roles = { produce, consume }
const input = readline.createInterface({ input: process.stdin })
input.once('line', (line) => {
  options = JSON.parse(line)
  roles[role]()
})

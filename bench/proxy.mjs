/**
 * A proxy between an application and Redis: `node proxy.mjs <port of Redis>`. It delays what passes each
 * way, and counts. It reports its port and then accepts `{ delay }`, in ms
 * each way, with what it counted since the last time:
 *   commands   that clients sent
 *   trips      times that a client spoke after the server had answered: with one request at a time,
 *              the round trips of that request
 *   hold       how long it really held a piece back, in ms each way (lower quartile)
 */
import { connect, createServer } from 'node:net'
import { AlarmClock, now } from './alarm-clock.mjs'
import { quantile } from './table.mjs'

const [target] = process.argv.slice(2).map(Number)

/** What is held back, of all connections and both ways: each piece as long as the others, so in order. */
const held = []
const alarm = new AlarmClock(release)

const setAlarm = () => alarm.set(held.length > 0 ? held[0].due : Infinity)

function hold(to, piece) {
  held.push({ due: now() + delay, to, piece })
  if (held.length === 1) setAlarm()
}

function release() {
  const at = now()
  while (held.length > 0 && held[0].due <= at) {
    const { due, to, piece } = held.shift()
    if (counts.holds.length < 10_000) counts.holds.push(at - due + delay)
    to.write(piece)
  }
  setAlarm()
}

let delay = 0
let counts
let isAnswered

function reset() {
  counts = { commands: 0, trips: 0, holds: [] }
  isAnswered = true
}

/** Passes on what comes from `from`, `delay` ms later. */
function pass(from, to, see) {
  from.on('data', (piece) => {
    see(piece)
    if (delay === 0 && held.length === 0) to.write(piece)
    else hold(to, piece)
  })
  from.on('error', () => to.destroy())
  from.on('close', () => to.destroy())
}

/** Counts commands: arrays of bulk strings, which may come in pieces. */
function commandCounter() {
  let bulks = 0
  let skip = 0
  let line = ''
  return (piece) => {
    let at = 0
    while (at < piece.length) {
      if (skip > 0) {
        const step = Math.min(skip, piece.length - at)
        skip -= step
        at += step
        continue
      }
      const end = piece.indexOf(10, at)
      line += piece.latin1Slice(at, end < 0 ? piece.length : end)
      if (end < 0) return
      at = end + 1
      const size = Number(line.slice(1))
      if (bulks === 0) {
        bulks = size
        counts.commands++
      } else {
        bulks--
        skip = size + 2
      }
      line = ''
    }
  }
}

const server = createServer({ noDelay: true }, (client) => {
  const redis = connect({ port: target, host: '127.0.0.1', noDelay: true })
  const count = commandCounter()
  pass(client, redis, (piece) => {
    count(piece)
    if (isAnswered) counts.trips++
    isAnswered = false
  })
  pass(redis, client, () => {
    isAnswered = true
  })
})

process.on('message', (message) => {
  const { commands, trips, holds } = counts
  delay = message.delay
  reset()
  process.send({ commands, trips, hold: holds.length > 0 ? quantile(holds, 0.25) : 0 })
})
process.on('disconnect', () => process.exit())

reset()
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))

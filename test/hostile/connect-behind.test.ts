/** Attack: CONNECT or Upgrade behind a request whose response is withheld, and a reset before that is sent. */
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { feature, frameworks } from '../frameworks/harness.ts'
import { until } from '../support/until.ts'

it.each(frameworks)(
  'attack: CONNECT behind a withheld response ends no process ($name)',
  async ({ start }) => {
    const thrown: unknown[] = []
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => thrown.push(error))
    onTestFinished(() => {
      process.removeAllListeners('uncaughtException')
      for (const listener of listeners) process.on('uncaughtException', listener)
    })
    let held = 0
    const withheld = feature(() => ({
      async beforeEnd() {
        held++
        await wait(40)
        held--
      },
    }))
    const app = await start({ stack: [withheld] })
    for (let i = 0; i < 5; i++) {
      const socket = connect(Number(app.url.port), '127.0.0.1').on('error', () => {})
      socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\nCONNECT b:80 HTTP/1.1\r\nHost: b\r\n\r\n')
      await until('the response is withheld', () => held > 0)
      await wait(5)
      socket.resetAndDestroy()
      await until('it is sent', () => held === 0)
      await wait(10)
    }
    expect(thrown).toEqual([])
  },
)

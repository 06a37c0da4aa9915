// One of several processes that hold the same flags: `switcher.mjs <redis url>`. It says what it sees.
import { config, flags, maintenance } from 'turnpike/flags'
import { turnpike } from 'turnpike/node'

const [url] = process.argv.slice(2)
const tp = turnpike({ redis: url, commandTimeout: '5s', requestBudget: '5s' })
// Long, so that only messages can bring a change.
const refresh = '10m'
const feature = flags(tp, { defaults: { a: false, b: 0 }, refresh })
const closed = maintenance(tp, { refresh })
let loads = 0
const settings = config(tp, 'settings', { load: () => ++loads, refresh })
await tp.ready()
await Promise.all([feature.refresh(), closed.refresh(), settings.get()])

const say = {
  state: () => ({
    a: Array.from({ length: 100 }, (_, user) => feature.enabled('a', { user })),
    b: feature.value('b'),
    isClosed: closed.status().on,
    loads: settings.current,
  }),
  set: (name, setting) => feature.set(name, setting),
  close: (by) => closed.on({ by }),
  reload: () => settings.reload(),
}
process.on('message', async ([id, method, ...args]) => {
  const answer = await say[method](...args)
  if (process.connected) process.send([id, answer])
})
process.send('ready')

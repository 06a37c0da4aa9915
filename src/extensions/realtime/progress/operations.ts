/** What progress asks of the store. Keys, arguments and replies: see the scripts. */
import { operation, type Operation } from '../../../store/store.ts'
import { APPEND, appendMessage, LATEST, latestPositions } from '../channels/operations.ts'
import readLua from './read.lua'
import updateLua from './update.lua'

/** The values behind a state. */
interface Fields {
  readonly total: number
  readonly steps: number
  /** Percent, in hundredths. */
  readonly share: number
  /** In millionths. */
  readonly cost: number
  readonly started: number
  /** JSON. */
  readonly step: string
  readonly hasFinished: boolean
  /** The state, JSON. */
  readonly view: string
}

const MAX_COST = 9e15

/** Changes a progress and publishes its state. */
export const updateProgress: Operation<string> = operation({
  name: 'progress.update',
  lua: `${APPEND}\n${updateLua}`,
  memory(database, [key, topic], args, now) {
    const [change, count, name, percent, added, reason, ttl, ...append] = args
    const known = change === 'start' ? undefined : database.get<Fields>(key!)
    if (known?.hasFinished) return known.view
    const total = Number(count) || (known?.total ?? 0)
    let { steps, share } = known ?? { steps: 0, share: 0 }
    const started = known?.started ?? now
    const cost = Math.min((known?.cost ?? 0) + Number(added), MAX_COST)
    const step = String(name) || (known?.step ?? 'null')
    if (change === 'step') {
      steps++
      if (total > 0) {
        steps = Math.min(steps, total)
        share = Math.floor((steps * 10_000) / total)
      }
    } else if (change === 'set') {
      share = Number(percent)
    } else if (change === 'done') {
      if (total > 0) steps = total
      share = 10_000
    }
    const hasFinished = change === 'done' || change === 'failed'
    const isKnown = !hasFinished && share > 0 && now > started
    const eta = isKnown ? Math.floor(((now - started) * (10_000 - share)) / share) : 'null'
    const view = [
      `{"status":"${hasFinished ? change : 'running'}"`,
      `"percent":${decimal(share, 2)}`,
      `"steps":${steps}`,
      `"total":${total > 0 ? total : 'null'}`,
      `"step":${step}`,
      `"cost":${decimal(cost, 6)}`,
      `"etaMs":${eta}`,
      `"reason":${String(reason)}`,
      `"startedAt":${started}`,
      `"updatedAt":${now}`,
      `"finishedAt":${hasFinished ? now : 'null'}}`,
    ].join(',')
    const fields: Fields = { total, steps, share, cost, started, step, hasFinished, view }
    database.set(key!, fields, Number(ttl))
    appendMessage(database, topic!, view, append, now)
    return view
  },
})

/** Returns an integer that counts parts of one, as a decimal number. */
function decimal(parts: number, digits: number): string {
  const one = 10 ** digits
  return `${Math.floor(parts / one)}.${String(parts % one).padStart(digits, '0')}`
}

/** Reads a progress, and the position in its topic at which it is so. */
export const readProgress: Operation<string[]> = operation({
  name: 'progress.read',
  lua: `${LATEST}\n${readLua}`,
  memory: (database, [key, topic], _args, now) => [
    database.get<Fields>(key!)?.view ?? '',
    ...latestPositions(database, topic!, now),
  ],
})

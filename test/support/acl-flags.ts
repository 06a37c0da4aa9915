import { config, flags, maintenance } from '../../src/flags.ts'
import { turnpike } from '../../src/node.ts'
import { until } from './until.ts'

/** Flags, maintenance and configuration: written, announced, read by another process, with their changes. */
export async function useFlags(
  tp: ReturnType<typeof turnpike>,
  redis: string,
  prefix: string,
  must: (what: string, holds: unknown) => void,
  isBroken: () => boolean,
): Promise<void> {
  await using other = turnpike({ redis, prefix, commandTimeout: 2000 })
  await other.ready('3s')
  // The message alone must do: nothing is asked for at an interval.
  const options = { defaults: { on: false }, refresh: '1h' } as const
  const [feature, elsewhere] = [flags(tp, options), flags(other, options)]
  await elsewhere.refresh()
  let isOn = false
  await until('a change arrives', async () => {
    await feature.set('on', (isOn = !isOn))
    await new Promise((resolve) => setTimeout(resolve, 20))
    return isBroken() || elsewhere.enabled('on') === isOn
  })
  must('the changes', (await feature.audit()).length > 0)
  const closed = maintenance(tp)
  await closed.on()
  must('maintenance', closed.status().on)
  await closed.off()
  const settings = config(tp, 'system', { load: () => 1 })
  must('a configuration', (await settings.reload()) === 1)
}

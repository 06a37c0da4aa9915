import { turnpike } from '../../src/node.ts'
import { until } from './until.ts'

/** Rules: set, announced, read by another process, lifted, with the audit of their changes. */
export async function useControl(
  tp: ReturnType<typeof turnpike>,
  redis: string,
  prefix: string,
  must: (what: string, holds: unknown) => void,
  isBroken: () => boolean,
): Promise<void> {
  await using other = turnpike({ redis, prefix, commandTimeout: 2000, operations: false })
  await other.ready('3s')
  const why = { by: 'ann', reason: 'a test' }
  const warnings: string[] = []
  other.on('warning', ({ message }) => warnings.push(message))
  await other.control.refresh()
  const { version } = await tp.control.deny('203.0.113.7', { ...why, for: '1h' })
  must('a version', version !== '')
  const rules = await other.control.rules()
  must('a rule', rules[0]?.address === '203.0.113.7')
  // The next change follows a version that both know, so the message alone must do.
  await other.control.refresh()
  await tp.control.allow('203.0.113.8', why)
  const refused = (): boolean => isBroken() || warnings.length > 0
  const last = async (): Promise<boolean> =>
    (await other.control.lift('203.0.113.8', why)).changed || refused()
  await until('a change arrives', last)
  must('nothing is refused', !refused())
  await tp.control.lift('203.0.113.7', why)
  await tp.control.refresh()
  must('no rule is left', (await tp.control.rules()).length === 0)
  must('the audit', (await tp.control.audit()).length === 4)
}

import { ActiveRules } from '../../src/control/active-rules.ts'
import { CONTEXT } from '../../src/extension.ts'
import { turnpike } from '../../src/node.ts'
import { ClientBans } from '../../src/operations/control/client-bans.ts'
import { RuleReplica } from '../../src/operations/control/rule-replica.ts'
import { until } from './until.ts'

/** Rules: set, announced, read by another process, confirmed, lifted, with their audit, and a ban. */
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
  const settled = await tp.control.settled()
  must('confirmations are read', settled.missing.length <= settled.processes)
  const context = tp[CONTEXT]('operations')
  const bans = new ClientBans(context, new ActiveRules(), new RuleReplica(context, 'test'), {
    name: 'test',
    limit: 1,
    window: 60_000,
    first: 60_000,
    max: 60_000,
    ipv6Subnet: 56,
  })
  const reported: object[] = []
  tp.on('ban', (event) => void reported.push(event))
  for (let i = 0; i < 2; i++) await bans.count('203.0.113.9')
  must(
    'a ban',
    (await tp.control.rules()).some(({ ban }) => ban === 'test'),
  )
  must('it is counted', reported.length === 1)
  await tp.control.lift('203.0.113.9', why)
  await tp.control.lift('203.0.113.7', why)
  await tp.control.refresh()
  must('no rule is left', (await tp.control.rules()).length === 0)
  must('the audit', (await tp.control.audit()).length === 5)
}

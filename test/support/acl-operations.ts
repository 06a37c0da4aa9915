import { CONTEXT } from '../../src/extension.ts'
import type { turnpike } from '../../src/node.ts'
import { AlertChecks } from '../../src/operations/alerts/alert-checks.ts'
import { RuleReplica } from '../../src/operations/control/rule-replica.ts'
import { Beat } from '../../src/operations/beat.ts'
import { ServiceChecks } from '../../src/operations/services/service-checks.ts'
import {
  readMinute,
  readMounts,
  readProcesses,
  readRefused,
} from '../../src/operations/processes.ts'

/** Checks a service, as a process does in each interval. */
async function checkService(tp: ReturnType<typeof turnpike>): Promise<void> {
  const settings = { check: () => true, every: 1000, timeout: 1000, ttl: 60_000 }
  const checks = new ServiceChecks(tp[CONTEXT]('operations'), 'search', settings, () => {})
  await checks.check(new AbortController().signal)
}

/** Reports a process that has refused a subject, reads all of it, and ends it. */
export async function useOperations(
  tp: ReturnType<typeof turnpike>,
  must: (what: string, holds: unknown) => void,
): Promise<void> {
  const context = tp[CONTEXT]('operations')
  const facts = {
    id: 'host/1/abc',
    host: 'host',
    pid: 1,
    since: 0,
    version: undefined,
    status: () => tp.status(),
  }
  const settings = { service: 'shop', release: undefined, every: 10_000, subjects: true }
  const beat = new Beat(context, facts, settings)
  const limiter = tp.limiter('reported', { limit: 1, window: '1m' })
  await limiter.consume('ann')
  await limiter.consume('ann')
  must('a report', (await beat.write()) === 1)
  // The description is known now.
  must('another report', (await beat.write()) === 1)
  const [process] = await readProcesses(context)
  must('a process', process?.service === 'shop')
  must('its mounts', (await readMounts(context, process!.description!))?.mounts.length === 1)
  must('its counts', (await readMinute(context, context.store.now())).size > 0)
  must('who was refused', (await readRefused(context))[0]?.tag === 'ann')
  // Each process asks with its reports whether there are rules.
  await new RuleReplica(context, 'test').refresh()
  let messages = 0
  const checks = new AlertChecks(context, {
    every: 1000,
    remindMs: 0,
    notify: () => void messages++,
    rules: { reported: { value: () => 1, above: 0, for: 0 } },
  })
  await checks.check()
  must('an alert', messages === 1)
  must('a list of alerts', (await checks.list())[0]?.name === 'reported')
  await checks.silence('reported', 60_000)
  const services = tp.service('payments')
  await services.report()
  must('a service', (await tp.services())[0]?.name === 'payments')
  await checkService(tp)
  await beat.leave()
  must('a process that ends', (await readProcesses(context)).length === 0)
}

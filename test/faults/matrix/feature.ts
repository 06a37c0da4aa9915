/** A feature in the fault matrix, and the statuses that it may answer. */
import type { Fault } from './faults.ts'
import type { AnyTurnpike, Answer, Ask, Site } from './site.ts'

/** The allowed statuses for each kind of fault. */
export type Rule = Record<Fault['kind'], readonly number[]>

export interface Asked extends Answer {
  /** True if an effect that was reported as failed may have happened. */
  uncertain: boolean
}

/** A kind of request. */
export interface Question {
  /** The name in the table. */
  name: string
  rule: Rule
  /** How many Redis calls in a row the request may wait for. */
  waits: 'once' | 'twice'
  next(): Ask
}

export interface Subject {
  questions: readonly Question[]
  /** Prepares its clients where Redis was never reachable. */
  prepare?(ask: (ask: Ask) => Promise<Asked>): Promise<void>
  /** Fails the test if the answer breaks a rule of this feature. */
  check?(answer: Asked, ask: Ask): unknown
  /** A request, and whether its answer shows that Redis took part in it. */
  probe: { next(): Ask; usesRedis(answer: Asked): boolean }
  /** Fails the test if a reported failure takes effect later, or an effect happens twice. */
  expectNoLateEffects?(ask: (ask: Ask) => Promise<Asked>): Promise<void>
}

/** What a feature's application is built from. */
export interface FeatureSetup {
  tp: AnyTurnpike
  site: Site
  fault: Fault
  /** Opens another instance on the same Redis, as another process would. */
  another(): AnyTurnpike
}

export interface Feature {
  name: string
  open(rig: FeatureSetup): Subject
}

/** Every status that the middlewares and handlers here can send. */
export const ANY_STATUS = [200, 202, 401, 409, 410, 422, 423, 429, 500, 503]

export const always = (...statuses: number[]): Rule => ({
  away: statuses,
  'at times': statuses,
  reads: statuses,
  full: statuses,
  forbidden: [500],
  garbled: ANY_STATUS,
})
/** 200, and `status` while Redis fails. */
export const fails = (status: number): Rule => ({
  away: [status],
  'at times': [200, status],
  reads: [status],
  full: [200, status],
  forbidden: [500],
  garbled: ANY_STATUS,
})
/** `statuses`, and 503 while Redis fails. Its scripts free no memory. */
export const failsTo503 = (...statuses: number[]): Rule => ({
  ...fails(503),
  'at times': [...statuses, 503],
  full: [503],
})

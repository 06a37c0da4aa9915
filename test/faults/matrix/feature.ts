/** What a feature of the matrix is, and which statuses are right. */
import type { Fault } from './faults.ts'
import type { AnyTurnpike, Answer, Ask, Site } from './site.ts'

/** The statuses that are right, by what the fault means. */
export type Rule = Record<Fault['kind'], readonly number[]>

export interface Asked extends Answer {
  /** May what the answer says has failed have happened all the same? */
  uncertain: boolean
}

/** A kind of request. */
export interface Question {
  /** As the table calls it. */
  name: string
  rule: Rule
  /** How often in a row it may ask Redis something, and wait for it. */
  waits: 'once' | 'twice'
  next(): Ask
}

export interface Subject {
  questions: readonly Question[]
  /** What it needs of its clients where Redis was never there. */
  prepare?(ask: (ask: Ask) => Promise<Asked>): Promise<void>
  /** Was this answer right, by what only this feature knows? Fails the test if not. */
  check?(answer: Asked, ask: Ask): unknown
  /** Tells by a request and its answer whether Redis has its part in it again. */
  pulse: { next(): Ask; isWell(answer: Asked): boolean }
  /** Nothing that was reported as failed happens later, and nothing happens twice. */
  ghosts?(ask: (ask: Ask) => Promise<Asked>): Promise<void>
}

/** What a feature is tried on. */
export interface Rig {
  tp: AnyTurnpike
  site: Site
  fault: Fault
  /** As another process would have it. */
  another(): AnyTurnpike
}

export interface Feature {
  name: string
  open(rig: Rig): Subject
}

/** What the middlewares and the handlers here can answer at all. */
export const ANYTHING = [200, 401, 409, 410, 422, 423, 429, 500, 503]

export const always = (...statuses: number[]): Rule => ({
  away: statuses,
  'at times': statuses,
  reads: statuses,
  full: statuses,
  forbidden: [500],
  garbled: ANYTHING,
})
/** 200, and `status` while Redis does not do its part. */
export const fails = (status: number): Rule => ({
  away: [status],
  'at times': [200, status],
  reads: [status],
  full: [200, status],
  forbidden: [500],
  garbled: ANYTHING,
})

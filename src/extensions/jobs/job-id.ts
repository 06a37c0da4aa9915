/** IDs of jobs: as callers see them, and as the engine stores them with their tenant. */
import { createHash, randomUUID } from 'node:crypto'
import { optionError, type Validator } from '../../validate.ts'

/** Accepts the ID of a new job. The engine refuses colons and integers, and clients put IDs into paths. */
export const jobIdValidator: Validator = {
  expected: "up to 100 letters, digits and '_.-'",
  accepts: (value) => typeof value === 'string' && /^[\w.-]{1,100}$/.test(value),
}

/** A job of a schedule: the schedule's ID and the time of the job, in ms since the epoch. */
const SCHEDULED = /^([\w.-]{1,100})@(\d{1,16})$/

/** Precedes the caller's ID. No ID contains it. */
const MARK = '~'
const OWNER_LENGTH = 16

const ownerOf = (tenant: string): string =>
  createHash('sha256').update(tenant).digest('base64url').slice(0, OWNER_LENGTH)

/** Returns the ID that the engine stores: two tenants may use the same one. */
export function storedId(id: string, tenant: string | undefined): string {
  const owner = `${tenant === undefined ? '' : ownerOf(tenant)}${MARK}`
  const scheduled = SCHEDULED.exec(id)
  return scheduled ? `repeat:${owner}${scheduled[1]}:${scheduled[2]}` : `${owner}${id}`
}

/** Returns the ID that callers see. */
export const publicId = (stored: string): string =>
  stored.slice(stored.indexOf(MARK) + 1).replace(':', '@')

/** Returns a random ID. */
export const newJobId = (): string => randomUUID()

/** Returns an ID that is the same for the same request and task. */
export const requestJobId = (requestId: string, task: string): string =>
  createHash('sha256')
    .update(JSON.stringify([requestId, task]))
    .digest('base64url')

/** Returns the ID of a child of a flow: a repeated flow finds its children. */
export const childJobId = (parentId: string, index: number): string =>
  createHash('sha256')
    .update(JSON.stringify([parentId, index]))
    .digest('base64url')

/** Returns true for what may be the ID of a job that exists. */
export const isJobId = (id: unknown): id is string =>
  typeof id === 'string' && (jobIdValidator.accepts(id) || SCHEDULED.test(id))

/** @throws TP_OPTION for what cannot be the ID of a job */
export function checkJobId(id: unknown, where: string): string {
  if (isJobId(id)) return id
  throw optionError(where, 'id', id, jobIdValidator.expected)
}

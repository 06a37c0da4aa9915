/** The state of a progress as it is stored and published: JSON. */
import { isObject } from '../../../validate.ts'
import type { ProgressState } from './options.ts'

const STATUSES: readonly unknown[] = ['running', 'done', 'failed']

/** Reads a state. Undefined for a string that is none: anyone with access to Redis can write. */
export function parseState(json: string): ProgressState | undefined {
  try {
    const state: unknown = JSON.parse(json)
    return isObject(state) && STATUSES.includes(state['status'])
      ? (state as unknown as ProgressState)
      : undefined
  } catch {
    return undefined
  }
}

/** Returns true if no change follows a state. */
export const hasFinished = ({ status }: ProgressState): boolean => status !== 'running'

/** Calls of the handler that wait until the work before the head is done, or that come too late. */
import type { ServerResponse } from 'node:http'
import { deferDestroy } from './disguise.ts'
import {
  beginSending,
  callbackOf,
  fail,
  runBeforeHead,
  setDisguise,
  skipBeforeEnd,
} from './finalizers.ts'
import type { Failure, ResponseState } from './response-state.ts'

/**
 * Calls `send` as soon as the head may go out. Work before the head makes it wait.
 * @param beforeWait called first if it waits
 * @returns what `send` returned; undefined if it waits
 */
export function whenSending<Result>(
  res: ServerResponse,
  state: ResponseState,
  send: () => Result,
  beforeWait: () => void,
): Result | undefined {
  if (state.phase === 'sending') return send()
  if (state.phase !== 'before-head') {
    const work = runBeforeHead(res, state)
    if (work === undefined) {
      beginSending(res, state)
      return send()
    }
    beforeWait()
    state.phase = 'before-head'
    setDisguise(res, state, 'head')
    void sendQueue(res, state, work)
  }
  state.enqueue(send)
  return undefined
}

/** Carries out the handler's calls that waited for the work before the head. */
async function sendQueue(
  res: ServerResponse,
  state: ResponseState,
  work: Promise<Failure | undefined>,
): Promise<void> {
  const release = deferDestroy(state.req, res)
  let failure = await work
  const { queue } = state
  state.queue = []
  let isRoom: unknown
  const send = (): void => {
    for (const call of queue) isRoom = call()
  }
  try {
    if (failure === undefined) {
      beginSending(res, state)
      send()
    }
  } catch (error) {
    // The handler has gone on. This is what its call would have thrown.
    failure = { error, finalizer: state.finalizers[0]! }
  }
  if (failure !== undefined) {
    // What the handler goes on to write belongs to no response.
    state.wasHeld = true
    skipBeforeEnd(res, state)
    setDisguise(res, state, undefined)
    state.phase = 'sending'
    fail(res, state, failure, res.headersSent ? 'sent' : 'writing', send)
  } else if (isRoom !== false && state.phase === 'sending') {
    res.emit('drain')
  }
  release()
}

/** Returns whether a call comes after an `end` that was held: node would have sent the response. */
export const isLate = ({ wasHeld, isPassingEnd, phase }: ResponseState): boolean =>
  wasHeld && !isPassingEnd && phase !== 'open' && phase !== 'sending'

/** Refuses a chunk after the end, as node does once a response was sent. */
export function refuseLate(args: unknown[]): false {
  const callback = callbackOf(args)
  const error = Object.assign(new Error('write after end'), { code: 'ERR_STREAM_WRITE_AFTER_END' })
  if (callback !== undefined) process.nextTick(callback, error)
  return false
}

/** Answers an `end` after a held one, as node does once a response was sent. */
export function endAgain(res: ServerResponse, isNothing: boolean, args: unknown[]): ServerResponse {
  const callback = callbackOf(args)
  if (!isNothing) refuseLate(args)
  else if (callback !== undefined) res.once('finish', callback)
  return res
}

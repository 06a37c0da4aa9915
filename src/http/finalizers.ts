/** Work that must be done before the client sees the head or the end of a response. */
import { ServerResponse } from 'node:http'
import { SHORT } from './body-tap.ts'
import { breakOff, deferDestroy, disguise } from './disguise.ts'
import { rejectionReason } from './promises.ts'
import {
  pass,
  type Failure,
  type FailureStage,
  type Finalizer,
  type ResponseState,
} from './response-state.ts'

/** Makes the response look as if its head or its end had been sent; undefined: as it is. */
export function setDisguise(
  res: ServerResponse,
  state: ResponseState,
  part: 'head' | 'end' | undefined,
): void {
  state.disguise?.()
  state.disguise = part && disguise(res, part)
}

/**
 * Starts the work before the end, of all features side by side, and then the last work. Resolves
 * with the first failure.
 * @returns undefined if there is nothing to wait for, which is the usual case
 */
export function runBeforeEnd(
  res: ServerResponse,
  state: ResponseState,
): Promise<Failure | undefined> | undefined {
  if (state.finalizing !== undefined)
    return state.finalizing === 'done' ? undefined : state.finalizing
  const { statusCode } = res
  const field = (name: string): string | undefined => {
    const value = res.getHeader(name)
    return value === undefined ? undefined : String(value)
  }
  const before = runAll(state, ({ beforeEnd }) => beforeEnd?.(statusCode, field))
  const work =
    before === undefined
      ? runCommit(state, statusCode, false)
      : before.then(async (failure) => {
          const last = await runCommit(state, statusCode, failure !== undefined)
          return failure ?? last
        })
  state.finalizing = 'done'
  if (work === undefined) return undefined
  const finalizing = work.then((failure) => {
    state.finalizing = 'done'
    forgetHeaders(state)
    return failure
  })
  state.finalizing = finalizing
  return finalizing
}

const runCommit = (
  state: ResponseState,
  status: number,
  isFailed: boolean,
): Promise<Failure | undefined> | undefined =>
  runAll(state, ({ commit }) => commit?.(status, isFailed))

/** Leaves out the work before the end, since the work before the head failed. */
export function skipBeforeEnd(res: ServerResponse, state: ResponseState): void {
  if (state.finalizing !== undefined) return
  state.finalizing = 'done'
  void runCommit(state, res.statusCode, true)
}

/** Starts the work before a head that goes out before the end. @returns as `runBeforeEnd` */
export function runBeforeHead(
  res: ServerResponse,
  state: ResponseState,
): Promise<Failure | undefined> | undefined {
  if (state.isHeadFinalized) return undefined
  state.isHeadFinalized = true
  const { statusCode } = res
  const work = runAll(state, ({ beforeHead }) => beforeHead?.(statusCode))
  return work?.then((failure) => {
    forgetHeaders(state)
    return failure
  })
}

function runAll(
  state: ResponseState,
  start: (finalizer: Finalizer) => Promise<void> | undefined,
): Promise<Failure | undefined> | undefined {
  let works: Promise<Failure | undefined>[] | undefined
  for (const finalizer of state.finalizers) {
    try {
      const work = start(finalizer)?.then(
        () => undefined,
        (error: unknown) => failureOf(finalizer, error),
      )
      if (work !== undefined) (works ??= []).push(work)
    } catch (error) {
      ;(works ??= []).push(Promise.resolve(failureOf(finalizer, error)))
    }
  }
  // The fields that a capture has seen were computed before this work.
  forgetHeaders(state)
  if (works === undefined || works.length === 1) return works?.[0]
  return Promise.all(works).then((all) => all.find((failure) => failure !== undefined))
}

const failureOf = (finalizer: Finalizer, error: unknown): Failure => ({
  error: rejectionReason(error),
  finalizer,
})

/** Fields may depend on the work: a session that was not saved has no cookie. */
function forgetHeaders(state: ResponseState): void {
  for (const late of state.lateHeaders) late.fields = undefined
}

/** Begins to send: passes a withheld head on, so that node frames the body as it would have. */
export function beginSending(res: ServerResponse, state: ResponseState): void {
  setDisguise(res, state, undefined)
  state.phase = 'sending'
  if (!state.isHeadGiven) return
  state.isHeadGiven = false
  state.own.writeHead.call(res, res.statusCode)
}

/** Passes `end` on as soon as the work before it is done. */
export function finalizeEnd(res: ServerResponse, state: ResponseState, args: unknown[]): void {
  const work = runBeforeEnd(res, state)
  if (work === undefined) passEnd(res, state, args)
  else void holdEnd(res, state, args, work)
}

async function holdEnd(
  res: ServerResponse,
  state: ResponseState,
  args: unknown[],
  work: Promise<Failure | undefined>,
): Promise<void> {
  const isSent = state.phase === 'sending'
  state.phase = 'before-end'
  state.wasHeld = true
  setDisguise(res, state, 'end')
  const release = deferDestroy(state.req, res)
  const failure = await work
  setDisguise(res, state, undefined)
  state.phase = isSent ? 'sending' : 'open'
  const send = (): void => sendHeld(res, state, args)
  if (failure === undefined) send()
  else fail(res, state, failure, isSent || res.headersSent ? 'sent' : 'unsent', send)
  release()
}

function sendHeld(res: ServerResponse, state: ResponseState, args: unknown[]): void {
  try {
    passEnd(res, state, args)
  } catch (error) {
    // The caller of `end` has returned. It would have received this error. Nothing has ended.
    if (!res.headersSent) state.phase = 'open'
    const finalizer = state.finalizers[0]!
    fail(res, state, { error, finalizer }, res.headersSent ? 'sent' : 'unsent', () => breakOff(res))
  }
}

/** Hands a failure to the feature's adapter, which answers or reports it. */
export function fail(
  res: ServerResponse,
  state: ResponseState,
  { error, finalizer }: Failure,
  stage: FailureStage,
  send: () => void,
): void {
  state.isEnded = false
  state.isHeadGiven = false
  if (stage === 'sent') breakOff(res)
  finalizer.fail(error, stage, send)
}

/** Calls node's `end`, or what another package has put in its place. */
export function passEnd(res: ServerResponse, state: ResponseState, args: unknown[]): unknown {
  if (state.isHeadGiven) beginSending(res, state)
  state.phase = 'ended'
  state.isEnded = true
  // Outer middlewares listen for the end: a log shows the request as it came.
  state.unmask()
  state.isPassingEnd = true
  try {
    if (state.withheld !== undefined) pass(state, 'write', res, [state.withheld])
    const [chunk] = args
    // A head and a string leave in one piece. Bytes would be a second one.
    const isShort =
      Buffer.isBuffer(chunk) &&
      chunk.length <= SHORT &&
      state.replaced.end === ServerResponse.prototype.end
    return pass(state, 'end', res, isShort ? asString(chunk, args) : args)
  } finally {
    state.isPassingEnd = false
  }
}

/** Returns the same arguments of `end`, with the bytes as a string. */
function asString(chunk: Buffer, args: unknown[]): unknown[] {
  return [chunk.toString('latin1'), 'latin1', callbackOf(args)]
}

export const callbackOf = (args: unknown[]): ((error?: Error) => void) | undefined =>
  args.find((arg) => typeof arg === 'function') as ((error?: Error) => void) | undefined

import { ServerResponse } from 'node:http'
import { rejectionReason } from './promises.ts'
import { SHORT } from './capture.ts'
import { pass, type Joint, type Refuse } from './joint.ts'

/** The first seal that failed, in the order of mounting. */
export interface Broken {
  error: unknown
  refuse: Refuse
}

/**
 * Do all seals side by side, and say which failed; undefined where none has anything to wait for,
 * which is the usual case. They are done once.
 */
export function seal(res: ServerResponse, joint: Joint): Promise<Broken | undefined> | undefined {
  const { statusCode } = res
  const field = (name: string): string | undefined => {
    const value = res.getHeader(name)
    return value === undefined ? undefined : String(value)
  }
  joint.sealed = true
  let under: Promise<Broken | undefined>[] | undefined
  for (const { seal, refuse } of joint.seals) {
    const fail = (error: unknown): Broken => ({ error: rejectionReason(error), refuse })
    try {
      const work = seal(statusCode, field)
      if (work !== undefined) (under ??= []).push(work.then(() => undefined, fail))
    } catch (error) {
      ;(under ??= []).push(Promise.resolve(fail(error)))
    }
  }
  if (under === undefined || under.length === 1) return under?.[0]
  return Promise.all(under).then((all) => all.find((broken) => broken !== undefined))
}

/** Let the end go once the seals are done. */
export function conclude(res: ServerResponse, joint: Joint, args: unknown[]): void {
  const sealing = seal(res, joint)
  if (sealing === undefined) send(res, joint, args)
  else void hold(res, joint, args, sealing)
}

/** Hold the end back meanwhile. */
async function hold(
  res: ServerResponse,
  joint: Joint,
  args: unknown[],
  sealing: Promise<Broken | undefined>,
): Promise<void> {
  joint.held = args
  // To everybody else the response has ended: Koa must not answer again, nor a handler write on.
  setEnded(res, true)
  const broken = await sealing
  joint.held = undefined
  setEnded(res, false)
  const go = (): void => release(res, joint, args)
  if (broken === undefined) go()
  else refuse(res, broken, go)
}

function send(res: ServerResponse, joint: Joint, args: unknown[]): void {
  if (joint.last !== undefined) pass(joint, 'write', res, [joint.last])
  const [chunk] = args
  // A head and a text leave in one piece: bytes would be a piece of their own.
  const isText =
    Buffer.isBuffer(chunk) &&
    chunk.length <= SHORT &&
    joint.inner.end === ServerResponse.prototype.end
  pass(joint, 'end', res, isText ? asText(chunk, args) : args)
}

/** The same arguments of `end`, with bytes as a text. */
function asText(chunk: Buffer, args: unknown[]): unknown[] {
  const then = args.find((arg) => typeof arg === 'function')
  return [chunk.toString('latin1'), 'latin1', then]
}

function release(res: ServerResponse, joint: Joint, args: unknown[]): void {
  try {
    send(res, joint, args)
  } catch (error) {
    // Whoever called `end` has gone on; this is what it would have been told.
    const [first] = joint.seals
    if (first !== undefined) refuse(res, { error, refuse: first.refuse }, () => breakOff(res))
  }
}

function refuse(res: ServerResponse, { error, refuse }: Broken, send: () => void): void {
  if (res.headersSent) breakOff(res)
  refuse(error, send)
}

/** End the connection so that no client can take what it has for the whole. */
function breakOff(res: ServerResponse): void {
  const { socket } = res
  try {
    // Where the body lasts until the connection closes (HTTP/1.0), an orderly close looks like success.
    if (res.req.httpVersionMajor < 2) socket?.resetAndDestroy()
  } catch {
    // Only plain TCP can be reset.
  }
  res.destroy()
}

/** `finished` is what node itself goes by; HTTP/2 has no such field to write to. */
function setEnded(res: ServerResponse, ended: boolean): void {
  if (Object.hasOwn(res, 'finished')) (res as { finished: boolean }).finished = ended
}

/** Fields that speak of the body that is not sent after all. */
const entity = [
  'accept-ranges',
  'age',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'etag',
  'expires',
  'last-modified',
  'trailer',
  'transfer-encoding',
]

/** Take an answer back that was not sent: another one, about an error, is to follow. */
export function withdraw(res: ServerResponse): void {
  // node remembers what was removed, even if it was not there.
  for (const name of entity) if (res.hasHeader(name)) res.removeHeader(name)
  res.statusCode = 200
  res.statusMessage = ''
}

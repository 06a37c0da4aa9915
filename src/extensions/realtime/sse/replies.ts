/** What a request for a stream gets in reply. */
import type { Refusal } from '../../../http/refusal.ts'

export const EVENT_STREAM_HEADERS: Readonly<Record<string, string>> = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-cache, no-transform',
  // nginx would keep events until its buffer is full.
  'X-Accel-Buffering': 'no',
}

/** The process, or the instance as it closes, takes no further stream. */
export const BUSY: Refusal = {
  status: 503,
  code: 'TP_LIMITED',
  detail: 'This server has too many open streams. Try again shortly.',
  retryAfterMs: 5000,
}

/** The user has no place left. */
export const TOO_MANY: Refusal = {
  status: 429,
  code: 'TP_LIMITED',
  detail: 'You have too many open streams. Close one, for example a window.',
  retryAfterMs: 10_000,
}

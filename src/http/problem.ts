import type { Exchange, Reply } from './exchange.ts'
import { prefersText } from './headers.ts'

/** What went wrong with a request, by RFC 9457. */
export interface ProblemDetails {
  /** URI of the kind of problem (RFC 9457). @default 'about:blank': no more than the status */
  type?: string
  /** The kind of problem in a few words, the same each time. */
  title: string
  /** The status code of the response. */
  status: number
  /** What went wrong this time, and what the client can do. */
  detail?: string
  /** Extension members. */
  [extension: string]: unknown
}

/** Returns the reply for a problem: `application/problem+json`, or plain text if the client prefers that. */
export function problemReply(problem: ProblemDetails, x: Pick<Exchange, 'header'>): Reply {
  const { title, status, detail } = problem
  const text = prefersText(x.header('accept'))
  return {
    status,
    headers: {
      'Content-Type': text ? 'text/plain; charset=utf-8' : 'application/problem+json',
      'Cache-Control': 'no-store',
    },
    body: text ? [title, detail].filter(Boolean).join('\n') : JSON.stringify(problem),
  }
}

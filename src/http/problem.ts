import type { Exchange, Reply } from './exchange.ts'
import { prefersText } from './headers.ts'

/** What went wrong with a request, by RFC 9457. */
export interface ProblemDetails {
  /** A URI that names the kind of problem. Default 'about:blank': no more than the status says. */
  type?: string
  /** The kind of problem in a few words, the same each time. */
  title: string
  status: number
  /** What went wrong this time, and what the client can do about it. */
  detail?: string
  /** Extension members. */
  [extension: string]: unknown
}

/** Tell the client about a problem: as `application/problem+json`, or in plain text if it prefers that. */
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

import { connect, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { setTimeout as wait } from 'node:timers/promises'
import { onTestFinished } from 'vitest'

/** What a client of HTTP/2 saw. */
export interface Http2Answer {
  /** NaN where there was no answer. */
  status: number
  headers: IncomingHttpHeaders
  text: string
  /** RFC 9113, 7: 0 is a clean end; undefined for a response that does not end. */
  rstCode: number | undefined
}

export function http2Client({ port }: URL): ClientHttp2Session {
  const client = connect(`http://127.0.0.1:${port}`).on('error', () => {})
  onTestFinished(() => client.destroy())
  return client
}

/** Asks, and reads until the stream is closed. */
export async function askHttp2(
  client: ClientHttp2Session,
  headers: Record<string, string> = {},
): Promise<Http2Answer> {
  const stream = client.request({ ':path': '/', ...headers }).on('error', () => {})
  let text = ''
  let answered: IncomingHttpHeaders = {}
  stream.on('response', (headers) => (answered = headers))
  stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  stream.end()
  const closed = new Promise((resolve) => stream.once('close', () => resolve(true)))
  const isClosed = await Promise.race([closed, wait(500, false)])
  const status = Number(answered[':status'])
  return { status, headers: answered, text, rstCode: isClosed ? stream.rstCode : undefined }
}

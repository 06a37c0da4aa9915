import { once } from 'node:events'
import { connect, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { onTestFinished } from 'vitest'

/** What a client of HTTP/2 saw. */
export interface Http2Answer {
  /** NaN where there was no answer. */
  status: number
  headers: IncomingHttpHeaders
  text: string
  /** RFC 9113, 7: 0 is a clean end. */
  rstCode: number
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
  await once(stream, 'close')
  const status = Number(answered[':status'])
  return { status, headers: answered, text, rstCode: stream.rstCode ?? 0 }
}

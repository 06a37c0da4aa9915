import { once } from 'node:events'
import { request, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'

/** What a client saw. */
export interface Answer {
  status: number
  headers: IncomingMessage['headers']
  rawHeaders: string[]
  /** As it was before any compression. */
  text: string
  bytes: Buffer
  /** Did the response end as HTTP says it should? */
  complete: boolean
}

export interface Question {
  method?: string
  path?: string
  headers?: OutgoingHttpHeaders
  body?: string
}

/** Ask, and read to the end, whether or not it is a good one. */
export async function ask({ url }: { url: URL }, question: Question = {}): Promise<Answer> {
  const { method = 'GET', path = '/', headers = {}, body } = question
  const req = request(new URL(path, url), { method, headers, agent: false })
  req.end(body)
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  res.on('data', (chunk: Buffer) => chunks.push(chunk))
  res.on('error', () => {})
  await new Promise((resolve) => res.once('close', resolve))
  const bytes = Buffer.concat(chunks)
  const { statusCode = 0, headers: answered, rawHeaders, complete } = res
  const text = complete ? decode(bytes, answered['content-encoding']).toString() : String(bytes)
  return { status: statusCode, headers: answered, rawHeaders, text, bytes, complete }
}

function decode(bytes: Buffer, encoding: string | undefined): Buffer {
  if (bytes.length === 0) return bytes
  if (encoding === 'gzip') return gunzipSync(bytes)
  return encoding === 'br' ? brotliDecompressSync(bytes) : bytes
}

/** The values of a field, one for each line that was sent. */
export function lines({ rawHeaders }: Answer, name: string): string[] {
  return rawHeaders.filter(
    (_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name,
  )
}

/** What a client gets, read from the bytes of the connection (RFC 9112). */

/** One response, or the beginning of one. */
export interface Received {
  status: number
  reason: string
  /** `Name: value`, sorted. */
  fields: string[]
  /** How the end of the body is found. */
  framing: string
  body: string
  trailers: string[]
  /** The status and the fields of informational responses before it. */
  informational: string[]
  isComplete: boolean
}

/**
 * Reads the responses of a connection.
 * @param methods of the requests, in order
 * @param isClosed true if nothing more will come
 */
export function readResponses(
  bytes: Buffer,
  methods: readonly string[],
  isClosed: boolean,
): { responses: Received[]; rest: string } {
  const responses: Received[] = []
  let text = bytes.toString('latin1')
  let informational: string[] = []
  while (text.length > 0) {
    const end = text.indexOf('\r\n\r\n')
    if (end < 0) break
    const [first = '', ...lines] = text.slice(0, end).split('\r\n')
    const [, status = '', reason = ''] = /^HTTP\/1\.[01] (\d{3}) ?(.*)$/.exec(first) ?? []
    if (status === '') break
    text = text.slice(end + 4)
    if (status.startsWith('1')) {
      informational.push([first, ...lines].join('|'))
      continue
    }
    const head = { status: Number(status), reason, fields: lines.sort(), informational }
    informational = []
    const method = methods[responses.length] ?? 'GET'
    const { body, rest } = readBody(text, lines, method, Number(status), isClosed)
    responses.push({ ...head, ...body })
    if (!body.isComplete) return { responses, rest: '' }
    text = rest
  }
  return { responses, rest: text }
}

type Body = Pick<Received, 'framing' | 'body' | 'trailers' | 'isComplete'>

function readBody(
  text: string,
  lines: readonly string[],
  method: string,
  status: number,
  isClosed: boolean,
): { body: Body; rest: string } {
  const field = (name: string): string | undefined =>
    lines
      .find((line) => line.toLowerCase().startsWith(`${name}:`))
      ?.slice(name.length + 1)
      .trim()
  const empty = { trailers: [], isComplete: true }
  if (method === 'HEAD' || status === 204 || status === 304) {
    return { body: { ...empty, framing: 'none', body: '' }, rest: text }
  }
  if (field('transfer-encoding')?.toLowerCase() === 'chunked') return readChunks(text)
  const length = field('content-length')
  if (length !== undefined) {
    const body = text.slice(0, Number(length))
    const isComplete = body.length === Number(length)
    return {
      body: { ...empty, framing: 'length', body, isComplete },
      rest: text.slice(body.length),
    }
  }
  return { body: { ...empty, framing: 'close', body: text, isComplete: isClosed }, rest: '' }
}

function readChunks(text: string): { body: Body; rest: string } {
  let body = ''
  let rest = text
  const broken = (): { body: Body; rest: string } => ({
    body: { framing: 'chunked', body, trailers: [], isComplete: false },
    rest: '',
  })
  for (;;) {
    const [line, size] = /^([\da-f]+)\r\n/i.exec(rest) ?? []
    if (line === undefined) return broken()
    const length = Number.parseInt(size!, 16)
    const chunk = rest.slice(line.length, line.length + length)
    if (length === 0) break
    body += chunk
    if (chunk.length < length) return broken()
    rest = rest.slice(line.length + length + 2)
  }
  const end = rest.indexOf('\r\n', 1)
  const trailer = /^0\r\n((?:[^\r\n]+\r\n)*)\r\n/.exec(rest)
  if (end < 0 || trailer === null) return broken()
  const trailers = trailer[1]!.split('\r\n').filter(Boolean)
  return {
    body: { framing: 'chunked', body, trailers, isComplete: true },
    rest: rest.slice(trailer[0].length),
  }
}

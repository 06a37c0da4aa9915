/** A client of server-sent events that reads as a browser's EventSource does, and reconnects when told to. */
import { once } from 'node:events'
import {
  request,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http'
import type { AddressInfo, Server } from 'node:net'
import { onTestFinished } from 'vitest'

export interface ReceivedEvent {
  event: string
  data: string
  id: string
}

export interface EventClient {
  status: number
  headers: IncomingHttpHeaders
  events: ReceivedEvent[]
  /** Data of the events, from JSON. */
  readonly data: any[]
  /** ID that a reconnection would send. */
  readonly lastEventId: string
  /** Milliseconds that the server asked to wait. */
  readonly retry: number | undefined
  /** Number of comments. */
  readonly comments: number
  /** The response is over. */
  readonly isOver: boolean
  /** True if it ended as HTTP says. */
  readonly isComplete: boolean
  /** The body, for a reply that is no stream. */
  readonly text: string
  res: IncomingMessage
  close(): void
}

export async function openEvents(
  server: Server | number,
  path = '/',
  headers: Record<string, string> = {},
): Promise<EventClient> {
  if (typeof server !== 'number' && !server.listening) await once(server, 'listening')
  const port = typeof server === 'number' ? server : (server.address() as AddressInfo).port
  const req: ClientRequest = request({
    port,
    path,
    agent: false,
    headers: { accept: 'text/event-stream', ...headers },
  })
  req.on('error', () => {})
  req.end()
  onTestFinished(() => void req.destroy())
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  const state = {
    buffer: '',
    text: '',
    lastEventId: headers['last-event-id'] ?? '',
    retry: undefined as number | undefined,
    comments: 0,
    isOver: false,
  }
  const events: ReceivedEvent[] = []
  let pending = { data: [] as string[], event: '', id: state.lastEventId }
  const line = (text: string): void => {
    if (text === '') {
      state.lastEventId = pending.id
      if (pending.data.length > 0)
        events.push({
          event: pending.event || 'message',
          data: pending.data.join('\n'),
          id: pending.id,
        })
      pending = { data: [], event: '', id: state.lastEventId }
      return
    }
    if (text.startsWith(':')) return void state.comments++
    const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(text)!
    if (field === 'data') pending.data.push(value)
    else if (field === 'event') pending.event = value
    else if (field === 'id') pending.id = value
    else if (field === 'retry') state.retry = Number(value)
  }
  res.setEncoding('utf8')
  res.on('data', (chunk: string) => {
    state.text += chunk
    const lines = (state.buffer + chunk).split('\n')
    state.buffer = lines.pop()!
    for (const each of lines) line(each)
  })
  res.on('error', () => {})
  res.on('close', () => (state.isOver = true))
  return {
    status: res.statusCode!,
    headers: res.headers,
    events,
    get data() {
      return events.map(({ data }) => JSON.parse(data))
    },
    get lastEventId() {
      return state.lastEventId
    },
    get retry() {
      return state.retry
    },
    get comments() {
      return state.comments
    },
    get isOver() {
      return state.isOver
    },
    get isComplete() {
      return res.complete
    },
    get text() {
      return state.text
    },
    res,
    close: () => void req.destroy(),
  }
}

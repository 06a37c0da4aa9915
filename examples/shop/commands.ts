/** What there is to try: shown on the page as curl lines, sent by its buttons, printed at the start. */
export interface Command {
  title: string
  note: string
  curl: string
  times: number
  path: string
  method: 'GET' | 'POST' | 'DELETE'
  headers: Record<string, string>
  body?: string
  /** Does curl keep its cookies in a file, as a browser would? */
  jar?: boolean
}

/** One policy of a limit, as the page shows it. */
export interface LimitRow {
  title: string
  /** How much there is at most. */
  most: number
  remaining: number
  retryAfterMs: number
}

type Draft = Pick<Command, 'title' | 'note' | 'path'> & Partial<Command>

const password = (password: string): Partial<Command> => ({
  method: 'POST',
  path: '/login',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ email: 'ada@example.com', password }),
})

const DRAFTS: Draft[] = [
  {
    title: 'Log in',
    note: '200 and a session cookie; a success forgets the failures before it.',
    path: '/login',
    ...password('correct horse'),
    jar: true,
  },
  {
    title: 'Who am I?',
    note: 'One round trip and no write. Without the cookie: 401.',
    path: '/me',
    jar: true,
  },
  {
    title: 'Where am I logged in?',
    note: 'Log in from another browser, too, and look again: each session with its device.',
    path: '/me/sessions',
    jar: true,
  },
  {
    title: 'Log out elsewhere',
    note: 'All sessions of this user end but this one, for good: no save under way brings one back.',
    method: 'DELETE',
    path: '/me/sessions?except=current',
    jar: true,
  },
  {
    title: 'Log out',
    note: 'The session is gone from the store before the answer is sent.',
    method: 'POST',
    path: '/logout',
    jar: true,
  },
  {
    title: 'Guess a password, six times',
    note: '401 five times, then 429 with Retry-After; even the right password must wait now.',
    path: '/login',
    ...password('guess'),
    times: 6,
  },
  {
    title: 'The free plan',
    note: '10 a minute: the eleventh is refused until the first is a minute old.',
    path: '/api/quota',
    headers: { 'x-api-key': 'free' },
    times: 11,
  },
  {
    title: 'The pro plan',
    note: '60 a minute and up to 20 at once (GCRA): after a burst, one each second.',
    path: '/api/quota',
    headers: { 'x-api-key': 'pro' },
    times: 21,
  },
  {
    title: 'Three windows, one round trip',
    note: 'A minute, an hour and a day, all or nothing: what one refuses drains none.',
    path: '/api/search?q=a',
  },
  {
    title: 'What others look for',
    note: 'Searches that found something, by hits that count half after an hour.',
    path: '/api/trending',
  },
  {
    title: 'Browse products',
    note: '30 a minute by address, before a database that takes 150 ms.',
    path: '/products?page=1',
  },
  {
    title: 'Order twice, pay once',
    note: 'The second answer is the first one again, with Idempotency-Replayed. Another item under this key: 422.',
    method: 'POST',
    path: '/orders',
    headers: { 'content-type': 'application/json', 'idempotency-key': 'order-1' },
    body: JSON.stringify({ item: 'Compass' }),
    times: 2,
  },
  {
    title: 'Rebuild the inventory',
    note: 'One at a time, over all processes: a second one at the same moment is answered 423.',
    method: 'POST',
    path: '/inventory/rebuild',
    headers: {},
  },
  {
    title: 'Verify an address',
    note: '202, and the code is printed where the demo runs. Again within 10 s: 429.',
    method: 'POST',
    path: '/verify/send',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: 'ada@example.com' }),
  },
  {
    title: 'Guess the code',
    note: '410 for a wrong code, a used one and one that was never sent. Put in the right one: 200, once.',
    method: 'POST',
    path: '/verify',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: 'ada@example.com', code: '123456' }),
  },
  {
    title: 'Make an invoice',
    note: '202: a job makes it. GET its Location for the state, or with /stream for each change.',
    method: 'POST',
    path: '/invoices',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ order: 7 }),
  },
  {
    title: 'How is Redis?',
    note: 'Kill it and look again: degraded, and every route above still answers. Also /health/live and /health/ready.',
    path: '/health',
  },
]

/** The commands for a shop that listens at `origin`. */
export function commands(origin: string): Command[] {
  return DRAFTS.map((draft) => {
    const command = { method: 'GET', headers: {}, times: 1, ...draft } as const
    return { ...command, curl: curl(origin, command) }
  })
}

function curl(
  origin: string,
  { method, path, headers, body, times, jar }: Omit<Command, 'curl'>,
): string {
  const fields = Object.entries(headers).map(([name, value]) => ` -H '${name}: ${value}'`)
  const data = body === undefined ? (method === 'GET' ? '' : ` -X ${method}`) : ` -d '${body}'`
  const cookies = jar ? ' -c cookies.txt -b cookies.txt' : ''
  const rest = `'${origin}${path}'${fields.join('')}${data}${cookies}`
  return times === 1
    ? `curl -i ${rest}`
    : `for i in $(seq ${times}); do curl -is ${rest}; echo; done`
}

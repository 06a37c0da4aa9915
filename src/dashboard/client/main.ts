/** The dashboard in a browser: which page is open, what it shows, and how it is kept up to date. */
import { offerChange, type OfferedChange } from './change-dialog.ts'
import type { ViewContext } from './context.ts'
import { h, update, type Content } from './elements.ts'
import { fetchPage, fetchViewer, type Answer, type Viewer } from './requests.ts'
import { VIEWS } from './views.ts'

/** Dialogs stand beside it. */
const root = document.createElement('div')
let viewer: Viewer
let page = 'overview'
let query: Record<string, string> = {}
let answer: Answer | undefined
let stream: EventSource | undefined
let isPaused = false
let note = ''
let generation = 0

/** Returns the page and the query in the address: `#/limits?subject=ada`. */
function readAddress(): void {
  const [path = '', search = ''] = location.hash.replace(/^#\/?/, '').split('?')
  page = Object.hasOwn(VIEWS, path) ? path : 'overview'
  query = Object.fromEntries(new URLSearchParams(search))
}

function ask(wanted: Record<string, string>): void {
  const search = String(new URLSearchParams(wanted))
  const address = `#/${page}${search === '' ? '' : `?${search}`}`
  if (location.hash === address) void load()
  else location.hash = address
}

/** Opens the page that the address names. */
function open(): void {
  const before = page
  readAddress()
  if (before !== page) note = ''
  answer = undefined
  document.title = `${VIEWS[page]!.title} · turnpike`
  render()
  follow()
  void load()
  if (before !== page) document.querySelector<HTMLElement>('main')?.focus()
}

async function load(): Promise<void> {
  const own = ++generation
  const found = await fetchPage(page, query)
  // The page was left meanwhile.
  if (own !== generation) return
  answer = found
  render()
}

/** Follows the page, unless it is paused or shows something that was asked for. */
function follow(): void {
  stream?.close()
  stream = undefined
  const isAsked = Object.keys(query).length > 0
  if (isPaused || isAsked || VIEWS[page]!.isLive !== true) return
  const own = new EventSource(`stream/${page}`)
  stream = own
  own.addEventListener('message', ({ data }) => {
    if (own !== stream) return
    answer = JSON.parse(String(data)) as Answer
    render()
  })
}

function pause(): void {
  isPaused = !isPaused
  follow()
  if (!isPaused) void load()
  render()
}

const CHANGE_ARGUMENTS = ['limit', 'limits', 'mode', 'client']

/** Some fields of a dialog are arguments of the command. */
function offer(change: OfferedChange): void {
  offerChange(
    change,
    (line) => {
      note = line
      void load()
      render()
    },
    CHANGE_ARGUMENTS,
  )
}

function render(): void {
  const view = VIEWS[page]!
  const context: ViewContext = { viewer, query, ask, offer }
  update(
    root,
    h('a', { class: 'skip', href: '#main', onclick: skip }, 'Skip to content'),
    h(
      'header',
      {},
      h('strong', {}, 'turnpike'),
      h(
        'button',
        { type: 'button', 'aria-pressed': String(isPaused), onclick: pause },
        'Pause updates',
      ),
      h('button', { type: 'button', onclick: () => void load() }, 'Refresh'),
      h(
        'span',
        { class: 'who' },
        `${viewer.who} (${viewer.can === 'view' ? 'views' : 'operates'})`,
      ),
    ),
    navigation(),
    h(
      'main',
      { id: 'main', tabindex: '-1' },
      h('h1', {}, view.title),
      h('p', { role: 'status', class: 'good' }, note),
      viewer.hasTenants && tenantForm(),
      h(
        'div',
        { key: page, 'aria-busy': answer === undefined ? 'true' : undefined },
        content(context),
      ),
    ),
  )
}

function skip(event: Event): void {
  event.preventDefault()
  document.querySelector<HTMLElement>('main')?.focus()
}

function navigation(): Content {
  const links = Object.entries(VIEWS).map(([name, { title }]) =>
    h(
      'li',
      { key: name },
      h('a', { href: `#/${name}`, 'aria-current': name === page ? 'page' : undefined }, title),
    ),
  )
  const jobs =
    viewer.jobs === null ? [] : [h('li', { key: 'jobs' }, h('a', { href: viewer.jobs }, 'Jobs'))]
  return h('nav', { 'aria-label': 'Pages' }, h('ul', {}, ...links, ...jobs))
}

function tenantForm(): Content {
  const onsubmit = (event: Event): void => {
    event.preventDefault()
    const tenant = new FormData(event.target as HTMLFormElement).get('tenant')
    const { tenant: _tenant, ...rest } = query
    ask(tenant ? { ...rest, tenant: tenant as string } : rest)
  }
  return h(
    'form',
    { key: 'tenant', onsubmit },
    h(
      'label',
      {},
      'Tenant',
      h('input', { name: 'tenant', value: query['tenant'] ?? '', autocomplete: 'off' }),
    ),
    h('button', {}, 'Use'),
  )
}

function content(context: ViewContext): Content {
  if (answer === undefined || answer.page !== page)
    return h('p', { class: 'faint', key: 'reading' }, 'Reading ...')
  const { data, error, warnings = [] } = answer
  return [
    ...warnings.map((warning) => h('p', { class: 'notice', key: warning }, warning)),
    error && h('p', { class: 'notice', role: 'alert', key: 'error' }, error.message),
    VIEWS[page]!.show(data ?? {}, context),
  ]
}

async function start(): Promise<void> {
  document.body.append(root)
  try {
    viewer = await fetchViewer()
  } catch (error) {
    update(root, h('main', {}, h('h1', {}, 'turnpike'), h('p', {}, (error as Error).message)))
    return
  }
  addEventListener('hashchange', open)
  // A page that nobody sees costs nothing.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) stream?.close()
    else follow()
  })
  open()
}

void start()

/** The page: statistics, a badge, a progress bar. No framework, no library. */
import { createHash } from 'node:crypto'

const STYLE = `
  :root { color-scheme: light dark; --line: light-dark(#e2e5ea, #31353d); --soft: light-dark(#5c6470, #9aa3b0);
    --card: light-dark(#fff, #1c1f25); --accent: light-dark(#2456d6, #8fb0ff) }
  body { margin: 0; background: light-dark(#f7f8fa, #121418); font: 15px/1.5 system-ui, sans-serif }
  main { max-width: 60rem; margin: auto; padding: 2rem 1.25rem; display: grid; gap: 1rem;
    grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)) }
  header { grid-column: 1 / -1; display: flex; gap: 1rem; align-items: center } h1 { margin: 0 auto 0 0; font-size: 1.4rem }
  section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.1rem }
  h2 { margin: 0 0 .6rem; font-size: 1rem } p { margin: .3rem 0; color: var(--soft) } ul { margin: .6rem 0; padding-left: 1.1rem }
  output { font-size: 1.8rem; font-variant-numeric: tabular-nums } progress { width: 100% }
  .badge { background: var(--accent); color: var(--card); border-radius: 1rem; padding: 0 .5rem; font-size: .85rem }
  button, input { font: inherit; padding: .25rem .8rem; border: 1px solid var(--line); border-radius: .4rem }`

const SCRIPT = `
  const $ = (id) => document.getElementById(id)
  const send = (path, body) => fetch(path, {
    method: 'POST',
    ...(body && { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
  })
  const click = (id, act) => $(id)?.addEventListener('click', act)
  click('login', async () => { await send('/login', { name: $('name').value }); location.reload() })
  click('logout', async () => { await send('/logout'); location.reload() })
  click('views', () => send('/campaigns/7/views'))
  click('clicks', () => send('/campaigns/7/clicks'))
  click('note', () => send('/notes', { title: 'A note of ' + new Date().toLocaleTimeString() }))
  click('read', () => send('/inbox/read', { all: true }))

  const showCampaign = ({ views, clicks }) => {
    $('stats').value = views + ' / ' + clicks
  }
  const showOnline = async () => {
    const { count } = await (await fetch('/online')).json()
    $('online').textContent = count + ' online'
  }
  const showBadge = (count) => {
    $('badge').textContent = count
    $('badge').hidden = count === 0
  }
  const addNote = ({ data }) => {
    const item = document.createElement('li')
    item.textContent = data.title
    $('notes').prepend(item)
  }
  const showInbox = async () => {
    const { messages, unread } = await (await fetch('/inbox')).json()
    $('notes').replaceChildren()
    messages.toReversed().forEach(addNote)
    showBadge(unread.messages)
  }
  const parsed = (listen) => ({ data }) => listen(JSON.parse(data))

  if ($('stats')) {
    const load = async () => showCampaign(await (await fetch('/campaigns/7')).json())
    const stream = new EventSource('/stream')
    stream.onopen = () => { $('state').textContent = 'live'; load(); showOnline() }
    stream.onerror = () => { $('state').textContent = 'connecting ...' }
    stream.onmessage = parsed(({ topic, data }) => topic === 'campaign:7' ? showCampaign(data) : showOnline())
    stream.addEventListener('gap', load)

    const inbox = new EventSource('/inbox/stream')
    inbox.addEventListener('unread', showInbox)
    inbox.addEventListener('gap', showInbox)
    inbox.addEventListener('push', parsed(({ message, unread }) => { addNote(message); showBadge(unread) }))
    for (const type of ['read', 'delete']) inbox.addEventListener(type, parsed(({ unread }) => showBadge(unread)))
  }

  click('report', async () => {
    const answer = await send('/reports')
    const source = new EventSource(answer.headers.get('Location') + '/stream')
    const show = ({ percent, step, etaMs, status }) => {
      $('bar').value = percent
      $('step').textContent = status === 'running'
        ? (step ?? 'begins') + (etaMs === null ? '' : ', ' + Math.ceil(etaMs / 1000) + ' s left')
        : status
    }
    source.addEventListener('progress', parsed(show))
    source.addEventListener('end', parsed((state) => { show(state); source.close() }))
  })`

const sha256 = (text: string): string =>
  `'sha256-${createHash('sha256').update(text).digest('base64')}'`
const POLICY = `default-src 'none'; connect-src 'self'; style-src ${sha256(STYLE)}; script-src ${sha256(SCRIPT)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

const FORM = `<section><h2>Who are you?</h2><input id="name" value="ann" maxlength="20" aria-label="Name">
<button id="login">Log in</button></section>`

const LIVE = `<section><h2>Campaign 7</h2><output id="stats">0 / 0</output><p>views / clicks</p>
<button id="views">View</button> <button id="clicks">Click</button></section>
<section><h2>Notifications <span class="badge" id="badge" hidden>0</span></h2><ul id="notes"></ul>
<button id="note">Send one</button> <button id="read">All read</button></section>
<section><h2>Report</h2><progress id="bar" max="100" value="0"></progress><p id="step">not begun</p>
<button id="report">Build</button></section>`

/** Returns the page and its Content-Security-Policy. @param user whose page it is; undefined: log in first */
export function page(user: string | undefined): { html: string; policy: string } {
  const bar = user
    ? `<span id="online"></span><span id="state"></span><button id="logout">Log out ${user}</button>`
    : ''
  const html = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>turnpike: realtime</title><style>${STYLE}</style></head>
<body><main><header><h1>turnpike: realtime</h1>${bar}</header>${user ? LIVE : FORM}</main><script>${SCRIPT}</script></body>
</html>
`
  return { html, policy: POLICY }
}

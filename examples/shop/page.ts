/** The shop's front page: what to try, and what the caller has left. */
import { createHash } from 'node:crypto'
import type { EventMap, StoreStatus } from 'turnpike/express'
import type { Command, LimitRow } from './commands.ts'

export interface State {
  status: StoreStatus
  /** Undefined while it is unknown. */
  limits: LimitRow[] | undefined
  recent: readonly EventMap['decision'][]
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escape = (value: unknown): string =>
  String(value).replace(/[&<>"']/g, (each) => ENTITIES[each]!)

/** A template whose values are escaped; what `raw` wraps is HTML already. */
const raw = (html: string) => ({ html })
function html(
  texts: TemplateStringsArray,
  ...values: (string | number | { html: string })[]
): string {
  return String.raw(
    { raw: texts },
    ...values.map((each) => (typeof each === 'object' ? each.html : escape(each))),
  )
}

const STYLE = `
  :root { color-scheme: light dark; --line: light-dark(#e2e5ea, #31353d); --soft: light-dark(#5c6470, #9aa3b0);
    --card: light-dark(#fff, #1c1f25); --code: light-dark(#f3f5f8, #14161a); --good: light-dark(#0a7a48, #4ccb8f);
    --bad: light-dark(#b3261e, #ff8a80); --accent: light-dark(#2456d6, #8fb0ff) }
  * { box-sizing: border-box }
  body { margin: 0; background: light-dark(#f7f8fa, #121418); font: 15px/1.5 system-ui, sans-serif }
  main { max-width: 76rem; margin: auto; padding: 2rem 1.25rem 4rem; display: grid; gap: 1.25rem 2rem;
    grid-template-columns: minmax(0, 1fr) 25rem; align-items: start }
  header { grid-column: 1 / -1 } h1 { margin: 0; font-size: 1.6rem } h2 { margin: 0; font-size: 1rem } p { margin: .2rem 0 0; color: var(--soft) }
  article, #state { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.1rem; margin-bottom: 1rem }
  #state { position: sticky; top: 1.25rem } #state h2:not(:first-child) { margin-top: 1.4rem }
  .top { display: flex; justify-content: space-between; gap: 1rem; align-items: start }
  pre { margin: .7rem 0 0; padding: .6rem .75rem; background: var(--code); border-radius: .4rem; white-space: pre-wrap; overflow-wrap: anywhere; font: 12.5px/1.5 ui-monospace, monospace }
  output pre { border-left: 3px solid var(--accent) }
  button { font: inherit; padding: .25rem .9rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--code); color: var(--accent); cursor: pointer }
  table { width: 100%; border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
  td { padding: .3rem .3rem .3rem 0; border-top: 1px solid var(--line) } tr:first-child td { border: 0 } td:not(:first-child) { text-align: right; white-space: nowrap }
  meter { width: 4.5rem; vertical-align: middle } small { color: var(--soft) } .good { color: var(--good) } .bad { color: var(--bad) }
  @media (max-width: 60rem) { main { grid-template-columns: minmax(0, 1fr) } #state { position: static } }`

const SCRIPT = `
  const state = document.getElementById('state')
  const look = async () => {
    const answer = await fetch('/state').catch(() => undefined)
    if (answer?.ok) state.innerHTML = await answer.text()
  }
  setInterval(() => document.hidden || look(), 1000)
  document.addEventListener('click', async ({ target }) => {
    if (!target.dataset.request) return
    const { path, times, ...request } = JSON.parse(target.dataset.request)
    const shown = document.createElement('pre')
    target.closest('article').querySelector('output').replaceChildren(shown)
    for (let i = 1; i <= times; i++) {
      const answer = await fetch(path, request)
      const body = await answer.text()
      shown.textContent += (i > 1 ? ' ' : '') + answer.status
      if (i < times) continue
      for (const name of ['ratelimit-policy', 'ratelimit', 'retry-after', 'content-type'])
        if (answer.headers.has(name)) shown.textContent += '\\n' + name + ': ' + answer.headers.get(name)
      shown.textContent += '\\n\\n' + body
    }
    await look()
  })`

const sha256 = (text: string): string =>
  `'sha256-${createHash('sha256').update(text).digest('base64')}'`
const POLICY = `default-src 'none'; connect-src 'self'; style-src ${sha256(STYLE)}; script-src ${sha256(SCRIPT)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

/** The page, and the Content-Security-Policy that it needs. `now` is the HTML of `state()`. */
export function page(commands: readonly Command[], now: string): { html: string; policy: string } {
  const html = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>turnpike: the shop</title><style>${STYLE}</style></head>
<body><main>
<header><h1>turnpike: the shop</h1><p>Paste a line into a terminal, or press Run, and watch what is left.</p></header>
<section>${commands.map(card).join('')}</section>
<aside id="state">${now}</aside>
</main><script>${SCRIPT}</script></body>
</html>
`
  return { html, policy: POLICY }
}

function card({ title, note, curl, path, method, headers, body, times }: Command): string {
  return html`<article>
    <div class="top">
      <div>
        <h2>${title}</h2>
        <p>${note}</p>
      </div>
      <button data-request="${JSON.stringify({ path, method, headers, body, times })}">Run</button>
    </div>
    <pre><code>${curl}</code></pre>
    <output></output>
  </article> `
}

/** The part that changes: how the store is, what is left, what was decided last. */
export function state({ status, limits, recent }: State): string {
  const where = status.topology === 'memory' ? 'in this process' : 'Redis'
  const health =
    status.status === 'ok'
      ? `<span class="good">${where}</span>`
      : '<span class="bad">Redis is away, this process counts for itself</span>'
  const rows = limits?.map(limitRow).join('') ?? '<tr><td>Not known while Redis is away.</td></tr>'
  const decisions =
    recent.map(decisionRow).join('') || '<tr><td><small>Nothing yet.</small></td></tr>'
  return html`<h2>Store: ${raw(health)}</h2>
    <h2>What you have left</h2>
    <table>
      ${raw(rows)}
    </table>
    <h2>Decided last</h2>
    <table>
      ${raw(decisions)}
    </table>`
}

function limitRow({ title, most, remaining, retryAfterMs }: LimitRow): string {
  const refused = retryAfterMs > 0
  const left = refused ? `again in ${Math.ceil(retryAfterMs / 1000)} s` : `${remaining} of ${most}`
  return html`<tr>
    <td>${title}</td>
    <td class="${refused ? 'bad' : ''}">${left}</td>
    <td><meter max="${most}" value="${remaining}"></meter></td>
  </tr>`
}

function decisionRow({ name, policy, allowed, remaining, source }: EventMap['decision']): string {
  const what = policy === undefined || policy === name ? name : `${name}, ${policy}`
  const verdict = allowed ? 'passed' : 'refused'
  const left = remaining === undefined ? '' : `${remaining} left`
  return html`<tr>
    <td>${what}</td>
    <td class="${allowed ? 'good' : 'bad'}">${verdict}</td>
    <td>${left}</td>
    <td><small>${source}</small></td>
  </tr>`
}

/** What the views of pages share. */
import { formatSpan } from '../../commands/format.ts'
import type { OfferedChange } from './change-dialog.ts'
import { h, type Content } from './elements.ts'
import type { Viewer } from './requests.ts'

/** What a view needs beside its data. */
export interface ViewContext {
  readonly viewer: Viewer
  /** What was asked for: a subject, a URL, a user. */
  readonly query: Readonly<Record<string, string>>
  /** Asks for something else, on the same page. */
  ask(query: Record<string, string>): void
  /** Opens the dialog of a change. */
  offer(change: OfferedChange): void
}

/** A page: its title, and how it looks. */
export interface View {
  readonly title: string
  /** True if it is brought up to date while it is open. */
  readonly isLive?: boolean
  show(data: any, context: ViewContext): Content
}

/** Describes a button for a change. Only operators see it. */
export function changeButton(
  { offer, query, viewer }: ViewContext,
  label: string,
  change: OfferedChange,
): Content {
  if (viewer.can !== 'operate') return undefined
  const { tenant } = query
  const onclick = (): void => offer(tenant === undefined ? change : { ...change, tenant })
  const name = `${label}: ${change.args.join(' ') || change.title}`
  return h('button', { type: 'button', key: label, 'aria-label': name, onclick }, label)
}

/** Describes a form with one field that asks for something on the same page. */
export function askForm(
  { ask, query }: ViewContext,
  { button, label, name }: { button: string; label: string; name: string },
): Content {
  const onsubmit = (event: Event): void => {
    event.preventDefault()
    const value = new FormData(event.target as HTMLFormElement).get(name)
    const { tenant } = query
    ask({
      ...(tenant !== undefined && { tenant }),
      ...(value && { [name]: value as string }),
    })
  }
  return h(
    'form',
    { key: `ask-${name}`, onsubmit },
    h(
      'label',
      {},
      label,
      h('input', { name, value: query[name] ?? '', autocomplete: 'off', maxlength: '2000' }),
    ),
    h('button', {}, button),
  )
}

/** Describes a button that has the server look at all keys, within bounds. */
export const scanButton = ({ ask, query: { tenant } }: ViewContext, label: string): Content =>
  h(
    'p',
    { key: 'scan' },
    h(
      'button',
      {
        type: 'button',
        onclick: () => ask({ list: String(Date.now()), ...(tenant !== undefined && { tenant }) }),
      },
      label,
    ),
    h('span', { class: 'faint' }, ' Sends SCAN, for at most three seconds and 300 matches.'),
  )

/** Describes what a scan has seen. */
export const scanNote = (
  scan: { isComplete: boolean; share: number; databaseSize: number } | undefined,
): Content =>
  scan &&
  h(
    'p',
    { class: 'faint' },
    scan.isComplete
      ? `All ${scan.databaseSize} keys of the database were seen.`
      : `${Math.round(scan.share * 100)} % of ${scan.databaseSize} keys were seen.`,
  )

/** Returns how long ago something was. */
export const ago = (now: number, at: unknown): string =>
  typeof at === 'number' ? `${formatSpan(now - at)} ago` : '-'

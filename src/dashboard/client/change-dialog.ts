/** Asks for what a change needs, shows what it would do, and makes it. */
import { h, update, type Content } from './elements.ts'
import { sendChange, type ChangeAnswer, type Wish } from './requests.ts'

/** A field that a person fills in. */
export interface ChangeField {
  readonly name: string
  readonly label: string
  readonly value?: string
  readonly isRequired?: boolean
}

/** A change as a page offers it. */
export interface OfferedChange extends Wish {
  readonly title: string
  readonly fields?: readonly ChangeField[]
}

const REASON: ChangeField = { name: 'reason', label: 'Reason, for the audit', isRequired: true }

/**
 * Opens the dialog.
 * @param onDone called after the change, with what came of it
 * @param names of fields that are arguments of the command. Others are options
 */
export function offerChange(
  offered: OfferedChange,
  onDone: (line: string) => void,
  names: readonly string[],
): void {
  new ChangeDialog(offered, onDone, names).open()
}

class ChangeDialog {
  readonly #dialog = document.createElement('dialog')
  readonly #offered: OfferedChange
  readonly #onDone: (line: string) => void
  readonly #names: readonly string[]
  readonly #cancel: Content
  #wish: Wish

  constructor(offered: OfferedChange, onDone: (line: string) => void, names: readonly string[]) {
    this.#offered = offered
    this.#onDone = onDone
    this.#names = names
    this.#wish = offered
    const onclick = (): void => this.#dialog.close()
    this.#cancel = h('button', { type: 'button', key: 'cancel', onclick }, 'Cancel')
  }

  open(): void {
    const from = document.activeElement
    const dialog = this.#dialog
    dialog.setAttribute('aria-labelledby', 'change-title')
    document.body.append(dialog)
    dialog.addEventListener('close', () => {
      dialog.remove()
      if (from instanceof HTMLElement && from.isConnected) from.focus()
      else document.querySelector<HTMLElement>('main')?.focus()
    })
    this.#ask()
    dialog.showModal()
    dialog.querySelector('input')?.focus()
  }

  #show(...content: Content[]): void {
    update(this.#dialog, h('h2', { id: 'change-title' }, this.#offered.title), ...content)
  }

  #ask(message?: string): void {
    const fields = [...(this.#offered.fields ?? []), REASON]
    const inputs = fields.map(({ isRequired, label, name, value }) => {
      const attributes = { name, value, required: isRequired, autocomplete: 'off', maxlength: 200 }
      return h('label', { key: name }, label, h('input', attributes))
    })
    this.#show(
      message !== undefined && h('p', { class: 'bad', role: 'alert' }, message),
      h(
        'form',
        { key: 'ask', onsubmit: (event: Event) => this.#preview(event) },
        ...inputs,
        h('div', { class: 'row' }, h('button', {}, 'Preview'), this.#cancel),
      ),
    )
    this.#dialog.querySelector('input')?.focus()
  }

  #preview(event: Event): void {
    event.preventDefault()
    const given = [...new FormData(event.target as HTMLFormElement)].flatMap(
      ([name, value]): [string, string][] => (value === '' ? [] : [[name, value as string]]),
    )
    const isArgument = ([name]: readonly [string, string]): boolean => this.#names.includes(name)
    const { args, options } = this.#offered
    this.#wish = {
      ...this.#offered,
      args: [...args, ...given.filter(isArgument).flatMap(argumentsOf)],
      options: { ...options, ...Object.fromEntries(given.filter((each) => !isArgument(each))) },
    }
    void sendChange('preview', bodyOf(this.#wish)).then((answer) => this.#confirm(answer))
  }

  #confirm({ changed, cli = '', error, nothing, plan = [], state, typed }: ChangeAnswer): void {
    const problem = error?.message ?? nothing
    if (problem !== undefined) return this.#ask(problem)
    const typing =
      typeof typed === 'string' &&
      h(
        'label',
        { key: 'typed' },
        `This concerns many. Type ${typed}`,
        h('input', { name: 'typed', required: true, autocomplete: 'off' }),
      )
    this.#show(
      changed === true &&
        h('p', { class: 'notice', role: 'alert' }, 'It has changed meanwhile. Look again.'),
      h(
        'div',
        { class: 'plan', role: 'group', 'aria-label': 'What will be done' },
        ...plan.map((line) => h('p', {}, line)),
      ),
      h(
        'form',
        { key: 'confirm', onsubmit: (event: Event) => this.#run(event, state) },
        typing,
        h('div', { class: 'row' }, h('button', { class: 'danger' }, 'Confirm'), this.#cancel),
      ),
      h(
        'label',
        { key: 'cli' },
        'The same on a command line. ./tp.mjs exports your instance as tp.',
        h('input', { readonly: true, value: cli }),
      ),
      h(
        'div',
        { class: 'row' },
        h('button', { type: 'button', onclick: () => this.#copy(cli) }, 'Copy'),
      ),
    )
    this.#dialog.querySelector<HTMLElement>('input[name=typed], button.danger')?.focus()
  }

  #run(event: Event, state: string | undefined): void {
    event.preventDefault()
    const typed = new FormData(event.target as HTMLFormElement).get('typed')
    const body = { ...bodyOf(this.#wish), state, ...(typed !== null && { typed }) }
    void sendChange('run', body).then((answer) => {
      if (answer.line === undefined) return this.#confirm(answer)
      this.#dialog.close()
      this.#onDone(answer.line)
    })
  }

  /** Browsers let only secure pages write to the clipboard. The field can be copied from anywhere. */
  #copy(text: string): void {
    const field = this.#dialog.querySelector<HTMLInputElement>('input[readonly]')
    field?.focus()
    field?.select()
    void (navigator.clipboard as Clipboard | undefined)?.writeText(text).catch(() => {})
  }
}

/** A field for several limits has one argument for each. */
const argumentsOf = ([name, value]: readonly [string, string]): string[] =>
  name === 'limits' ? value.trim().split(/\s+/) : [value]

const bodyOf = ({ args, command, options, tenant }: Wish): object => ({
  command,
  args,
  options,
  ...(tenant !== undefined && { tenant }),
})

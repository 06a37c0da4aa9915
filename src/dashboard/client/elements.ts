/**
 * Elements of a page: descriptions, and how a page becomes what they describe. Every string becomes a
 * text node or an attribute. No string ever becomes HTML.
 */

/** Attributes by name. `on…` are listeners; `key` tells an element from its neighbours. */
export type Attributes = Readonly<Record<string, unknown>>

/** An element as it shall be. */
export interface Description {
  readonly tag: string
  readonly attributes: Attributes
  readonly children: readonly (Description | string)[]
}

export type Content = Description | string | number | null | undefined | false | readonly Content[]

/** Control characters and signs that reorder or hide text. They are shown as what they are. */
const HARMFUL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/** Returns a string as a page may show it. */
export const visible = (text: string): string =>
  text.replace(HARMFUL, (sign) => `\\u{${sign.codePointAt(0)!.toString(16)}}`)

/** Describes an element. */
export function h(tag: string, attributes: Attributes, ...content: Content[]): Description {
  return { tag, attributes, children: flat(content) }
}

function flat(content: readonly Content[]): (Description | string)[] {
  return content.flatMap((each): (Description | string)[] => {
    if (each === null || each === undefined || each === false) return []
    if (typeof each === 'string' || typeof each === 'number') return [visible(String(each))]
    return isList(each) ? flat(each) : [each]
  })
}

const isList = (content: Content): content is readonly Content[] => Array.isArray(content)

/** What an element was last made from. */
const known = new WeakMap<Node, Description>()

/**
 * Makes the children of an element what is described. Elements that stay are kept, so the focus, what
 * is typed, and the position in a list survive an update.
 */
export function update(parent: Element, ...content: Content[]): void {
  const focused = document.activeElement
  updateChildren(parent, flat(content))
  if (focused instanceof HTMLElement && focused !== document.activeElement && focused.isConnected)
    focused.focus({ preventScroll: true })
}

function updateChildren(parent: Element, wanted: readonly (Description | string)[]): void {
  const left = [...parent.childNodes]
  const nodes = wanted.map((each) => {
    const i = left.findIndex((node) => isSame(node, each))
    const node = i >= 0 ? left.splice(i, 1)[0]! : create(each)
    if (typeof each === 'string') {
      if (node.nodeValue !== each) node.nodeValue = each
    } else updateElement(node as HTMLElement, each)
    return node
  })
  for (const node of left) node.remove()
  for (const [i, node] of nodes.entries())
    if (parent.childNodes[i] !== node) parent.insertBefore(node, parent.childNodes[i] ?? null)
}

function isSame(node: Node, wanted: Description | string): boolean {
  if (typeof wanted === 'string') return node.nodeType === Node.TEXT_NODE
  const before = known.get(node)
  return before?.tag === wanted.tag && before.attributes['key'] === wanted.attributes['key']
}

const SVG = 'http://www.w3.org/2000/svg'

function create(wanted: Description | string): Node {
  if (typeof wanted === 'string') return document.createTextNode(wanted)
  const isDrawn = wanted.tag === 'svg' || wanted.tag === 'path'
  return isDrawn ? document.createElementNS(SVG, wanted.tag) : document.createElement(wanted.tag)
}

function updateElement(element: HTMLElement, wanted: Description): void {
  const before = known.get(element)?.attributes ?? {}
  for (const name of new Set([...Object.keys(before), ...Object.keys(wanted.attributes)])) {
    const value = wanted.attributes[name]
    if (name === 'key' || value === before[name]) continue
    if (name.startsWith('on')) Reflect.set(element, name, value ?? null)
    else if (value === undefined || value === false || value === null) element.removeAttribute(name)
    else element.setAttribute(name, value === true ? '' : visible(textOf(value)))
  }
  known.set(element, wanted)
  updateChildren(element, wanted.children)
}

const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value)

/** Describes a table. The first cell of a row is its head, the key is what makes the row the same. */
export function table(
  caption: string,
  heads: readonly string[],
  rows: readonly { readonly key: string; readonly cells: readonly Content[] }[],
): Content {
  if (rows.length === 0) return h('p', { class: 'faint' }, `${caption}: none.`)
  return h(
    'div',
    { class: 'wrap', tabindex: '0', role: 'region', 'aria-label': caption, key: caption },
    h(
      'table',
      {},
      h('caption', {}, caption),
      h('thead', {}, h('tr', {}, ...heads.map((head) => h('th', { scope: 'col' }, head)))),
      h(
        'tbody',
        {},
        ...rows.map(({ cells, key }) =>
          h(
            'tr',
            { key },
            ...cells.map((cell, i) =>
              i === 0 ? h('th', { scope: 'row' }, cell) : h('td', {}, cell),
            ),
          ),
        ),
      ),
    ),
  )
}

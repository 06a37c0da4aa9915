/** JSON in canonical form: the members of objects in the order of their names (as RFC 8785). */

/** The end of an object or array, on the stack of values. */
class End {
  readonly text: string
  readonly of: object

  constructor(text: string, of: object) {
    this.text = text
    this.of = of
  }
}

/** Text between two values, on the stack of values. */
class Between {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

const COMMA = new Between(',')

/**
 * Serializes a value in canonical form. Clients choose how deep it is, so this does not recurse.
 * @throws TypeError if an object contains itself
 */
export function canonicalJson(value: unknown): string {
  const out: string[] = []
  const stack: unknown[] = [value]
  /** The objects around the current value. */
  const open = new Set<object>()
  while (stack.length > 0) {
    const each = toJson(stack.pop())
    if (each instanceof End) {
      open.delete(each.of)
      out.push(each.text)
    } else if (each instanceof Between) {
      out.push(each.text)
    } else if (typeof each === 'object' && each !== null) {
      if (open.has(each)) throw new TypeError('The value contains itself.')
      open.add(each)
      out.push(Array.isArray(each) ? pushItems(stack, each) : pushMembers(stack, each))
    } else {
      out.push(typeof each === 'bigint' ? String(each) : (JSON.stringify(each) ?? 'null'))
    }
  }
  return out.join('')
}

/** Dates and the like say themselves what they are in JSON. */
function toJson(value: unknown): unknown {
  const own = (value as { toJSON?: unknown } | null | undefined)?.toJSON
  return typeof own === 'function' ? (value as { toJSON(): unknown }).toJSON() : value
}

/** Puts the items on the stack, the first on top. Returns the text before them. */
function pushItems(stack: unknown[], items: readonly unknown[]): string {
  stack.push(new End(']', items))
  for (let i = items.length - 1; i >= 0; i--) {
    stack.push(items[i])
    if (i > 0) stack.push(COMMA)
  }
  return '['
}

/** Puts the members on the stack, the first on top. Returns the text before them. */
function pushMembers(stack: unknown[], object: object): string {
  stack.push(new End('}', object))
  const names = Object.keys(object)
    .filter((name) => (object as Record<string, unknown>)[name] !== undefined)
    .sort()
  for (let i = names.length - 1; i >= 0; i--) {
    const name = names[i]!
    stack.push((object as Record<string, unknown>)[name])
    stack.push(new Between(`${i > 0 ? ',' : ''}${JSON.stringify(name)}:`))
  }
  return '{'
}

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
/** Deepest nesting that is serialized by recursion. Clients choose how deep a value is. */
const SHALLOW = 64

/**
 * Serializes a value in canonical form.
 * @throws TypeError if an object contains itself
 */
export const canonicalJson = (value: unknown): string => serialize(value, SHALLOW)

/** @param depth how much deeper this may recurse. An object that contains itself is deeper. */
function serialize(value: unknown, depth: number): string {
  const each = toJson(value)
  if (typeof each === 'bigint') return String(each)
  if (typeof each !== 'object' || each === null) return JSON.stringify(each) ?? 'null'
  if (depth === 0) return serializeDeep(each)
  let out = ''
  if (Array.isArray(each)) {
    for (let i = 0; i < each.length; i++)
      out += `${i > 0 ? ',' : ''}${serialize(each[i], depth - 1)}`
    return `[${out}]`
  }
  const object = each as Record<string, unknown>
  for (const name of namesOf(object))
    out += `${out && ','}${JSON.stringify(name)}:${serialize(object[name], depth - 1)}`
  return `{${out}}`
}

/** Serializes a value of any depth: this does not recurse. */
function serializeDeep(value: object): string {
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
      out.push(
        Array.isArray(each)
          ? pushItems(stack, each)
          : pushMembers(stack, each as Record<string, unknown>),
      )
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

/** Returns the names of the members that have a value, in order. */
function namesOf(object: Readonly<Record<string, unknown>>): string[] {
  const names = Object.keys(object)
  const present = names.filter((name) => object[name] !== undefined)
  return present.sort()
}

/** Puts the members on the stack, the first on top. Returns the text before them. */
function pushMembers(stack: unknown[], object: Readonly<Record<string, unknown>>): string {
  stack.push(new End('}', object))
  const names = namesOf(object)
  for (let i = names.length - 1; i >= 0; i--) {
    const name = names[i]!
    stack.push(object[name])
    stack.push(new Between(`${i > 0 ? ',' : ''}${JSON.stringify(name)}:`))
  }
  return '{'
}

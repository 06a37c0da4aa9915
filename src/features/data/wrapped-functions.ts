/** The functions that `tp.data.wrap()` was called with. */
import type { ExtensionContext } from '../../extension.ts'
import { optionError, OptionError } from '../../validate.ts'

/** Names that are remembered. */
const MAX_NAMES = 10_000

/** Functions by namespace and name. */
type WrappedFunctions = Map<string, unknown>

/** @throws TP_OPTION if there is no name, or another function has it */
export function claimFunctionName(
  context: Pick<ExtensionContext, 'once'>,
  { where, namespace, name, fn }: { where: string; namespace: string; name: string; fn: unknown },
): void {
  if (name === '') {
    const expected = 'given for a function without a name, or a key function'
    throw optionError(where, 'name', name, expected)
  }
  const wrapped = context.once('wrapped-functions', (): WrappedFunctions => new Map())
  const id = `${namespace}\n${name}`
  const known = wrapped.get(id)
  if (known !== undefined && known !== fn) {
    throw new OptionError(
      `${where}: another function has the name '${name}'. Both would return each other's results. Give this one a name of its own: { name: '…' }. Wrap a function once, not at each call.`,
      'name',
      name,
      'a name that no other function has',
      undefined,
    )
  }
  if (wrapped.size < MAX_NAMES) wrapped.set(id, fn)
}

/** What operators change: the writing commands of the program `turnpike`, shown before they are done. */
import { createHash } from 'node:crypto'
import { cacheClear, cachePurge } from '../commands/cache-purge.ts'
import { toCommandError } from '../commands/command-error.ts'
import { CommandError, type Command, type WritePlan } from '../commands/command.ts'
import { idempotencyRelease } from '../commands/idempotency-release.ts'
import { limitsBlock } from '../commands/limits-block.ts'
import { limitsReset } from '../commands/limits-reset.ts'
import { limitsSet, limitsUnset } from '../commands/limits-set.ts'
import { locksBreak } from '../commands/locks-break.ts'
import { mode } from '../commands/mode.ts'
import { plan } from '../commands/plan.ts'
import { allow, block, unblock } from '../commands/rules.ts'
import { sessionsRevoke, sessionsRevokeAll } from '../commands/sessions-end.ts'
import type { DashboardUser } from '../operations/dashboard.ts'
import { isObject } from '../validate.ts'
import type { Connection } from './connection.ts'

const COMMANDS: readonly Command[] = [
  allow,
  block,
  cacheClear,
  cachePurge,
  idempotencyRelease,
  limitsBlock,
  limitsReset,
  limitsSet,
  limitsUnset,
  locksBreak,
  mode,
  plan,
  sessionsRevoke,
  sessionsRevokeAll,
  unblock,
]

/** A change that a page asks for. */
interface Wish {
  readonly command: Command
  readonly args: readonly string[]
  readonly options: Readonly<Record<string, string | boolean>>
  readonly tenant: string | undefined
}

interface Outcome {
  readonly status: number
  readonly json: string
}

const outcome = (status: number, document: object): Outcome => ({
  status,
  json: JSON.stringify(document),
})

/** Previews and makes changes. */
export class Actions {
  readonly #connection: Connection
  readonly #onChange: () => void

  constructor(connection: Connection, onChange: () => void) {
    this.#connection = connection
    this.#onChange = onChange
  }

  /** Returns what a change would do, and what identifies the state that it was made from. */
  async preview(body: Record<string, unknown>, user: DashboardUser): Promise<Outcome> {
    return await answered(async () => {
      const wish = wishOf(body)
      let plan: WritePlan | undefined
      const { lines } = await this.#run(wish, user, (shown) => {
        plan = shown
        return false
      })
      if (plan === undefined) return outcome(200, { nothing: lines.map(textOf).join(' ') })
      return outcome(200, shownPlan(wish, plan))
    })
  }

  /** Makes a change, if it still is the one that was shown. */
  async run(body: Record<string, unknown>, user: DashboardUser): Promise<Outcome> {
    return await answered(async () => {
      const wish = wishOf(body)
      const { state, typed } = body
      let refusal: Outcome | undefined
      const { data, lines } = await this.#run(wish, user, (plan) => {
        if (stateOf(wish, plan) !== state)
          refusal = outcome(409, { changed: true, ...shownPlan(wish, plan) })
        else if (plan.typed !== undefined && plan.typed !== typed)
          refusal = outcome(422, errorOf('confirmation', `Type ${plan.typed} to confirm.`))
        return refusal === undefined
      })
      if (refusal !== undefined) return refusal
      this.#onChange()
      return outcome(200, { data, line: lines.map(textOf).join(' ') })
    })
  }

  async #run(
    { args, command, options, tenant }: Wish,
    user: DashboardUser,
    confirm: (plan: WritePlan) => boolean,
  ): ReturnType<Connection['run']> {
    const call = {
      args,
      // Who it is, `authorize` says. A page cannot.
      options: { ...options, as: user.who },
      confirm: (plan: WritePlan) => Promise.resolve(confirm(plan)),
    }
    return await this.#connection.run(command, call, tenant)
  }
}

const textOf = (line: string | { readonly text: string }): string =>
  typeof line === 'string' ? line : line.text

const errorOf = (code: string, message: string): object => ({ error: { code, message } })

async function answered(act: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await act()
  } catch (error) {
    const known = toCommandError(error)
    if (known === undefined) throw error
    const status = known.exit === 'unreachable' ? 503 : known.exit === 'permission' ? 502 : 422
    return outcome(status, errorOf(known.exit, known.message))
  }
}

const shownPlan = (wish: Wish, plan: WritePlan): object => ({
  plan: plan.lines,
  typed: plan.typed ?? null,
  state: stateOf(wish, plan),
  cli: commandLineOf(wish),
})

/** Returns what identifies a change and the state that it was made from. */
function stateOf(
  { args, command, options, tenant }: Wish,
  { lines, state = lines }: WritePlan,
): string {
  const { reason: _reason, ...rest } = options
  const all = [command.name, args, Object.entries(rest), tenant ?? null, state]
  return createHash('sha256').update(JSON.stringify(all)).digest('base64url')
}

/** Returns the command line that does the same. The module exports the application's instance. */
function commandLineOf({ args, command, options, tenant }: Wish): string {
  const given = Object.entries<string | boolean>({
    ...options,
    ...(tenant !== undefined && { tenant }),
  })
  const words = given.flatMap(([name, value]) =>
    value === true ? [`--${name}`] : value === false ? [] : [`--${name}`, quote(value)],
  )
  return ['npx turnpike', command.name, ...args.map(quote), '--app ./tp.mjs', ...words].join(' ')
}

/** Returns an argument for a POSIX shell. */
const quote = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) && !word.startsWith('-')
    ? word
    : `'${word.replaceAll("'", "'\\''")}'`

const MAX_LENGTH = 2000
const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= MAX_LENGTH

/** Returns the change that a page asks for. @throws CommandError for anything else */
function wishOf({ args = [], command: name, options = {}, tenant }: Record<string, unknown>): Wish {
  const command = COMMANDS.find((each) => each.name === name)
  if (command === undefined) throw new CommandError('usage', 'There is no such action.')
  if (!Array.isArray(args) || !args.every(isText) || !isObject(options))
    throw new CommandError('usage', 'args must be strings, and options an object.')
  const [least, most] = command.takes
  if (args.length < least || args.length > most)
    throw new CommandError('usage', `${command.name} takes ${command.usage}.`)
  for (const [option, value] of Object.entries(options)) {
    const known =
      option === 'reason'
        ? 'string'
        : Object.hasOwn(command.options ?? {}, option)
          ? command.options![option]!.type
          : undefined
    if (known === undefined || typeof value !== known || (known === 'string' && !isText(value)))
      throw new CommandError('usage', `${command.name} has no such option, or not this value.`)
  }
  if (tenant !== undefined && !isText(tenant))
    throw new CommandError('usage', 'tenant must be a string.')
  return { command, args, options: options as Wish['options'], tenant }
}

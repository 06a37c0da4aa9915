/** Who is online: `presence()`. */
import { durationOption, durationValidator } from '../../../duration.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { passThrough, type Exchange, type Feature, type Plan } from '../../../http/exchange.ts'
import { isNoUser, USER_ID, userIdString } from '../../../user-id.ts'
import {
  anyString,
  callback,
  integer,
  optionError,
  optionRuleError,
  validateOptions,
  type Validator,
} from '../../../validate.ts'
import type { Topics } from '../channels/topics.ts'
import type { Presence, PresenceCallOptions, PresenceOptions } from './options.ts'
import { isUserName, PRESENCE_TOPIC, UserBeats } from './user-beats.ts'

const WHERE = 'presence()'
const CALL: Record<string, Validator> = { tenant: anyString }
const ONLINE: Record<string, Validator> = { ...CALL, cursor: anyString, limit: integer(1, 1000) }
const [MIN_TTL, MAX_TTL] = [3000, 86_400_000]

/** @throws TP_OPTION for an option that cannot be used */
export function createPresence<Native, Middleware extends object>(
  topics: Topics<Native, Middleware>,
  options: PresenceOptions<Native>,
): Middleware & Presence {
  validateOptions(WHERE, options, {
    user: callback,
    ttl: durationValidator,
    max: integer(1, 1_000_000),
  })
  const given = options.ttl ?? '5m'
  const ttl = durationOption(given, WHERE, 'ttl', MIN_TTL)
  if (ttl > MAX_TTL) throw optionError(WHERE, 'ttl', given, 'at most a day')
  if (topics.settings.max === 0)
    throw optionRuleError(
      WHERE,
      'history',
      false,
      'presence() needs channels with a history. Leave out `history: false`.',
    )
  const { context } = topics
  const settings = { ttl, max: options.max ?? 100_000 }
  context.claimName({ where: WHERE, kind: 'presence', name: 'users', isExplicit: true, settings })
  const beats = context.once('presence', () => new UserBeats(topics, settings))
  const tenantOf = (call: PresenceCallOptions | undefined, where: string): string | undefined => {
    if (call !== undefined) validateOptions(where, call, CALL)
    return call?.tenant
  }
  const api: Presence = {
    topic: PRESENCE_TOPIC,
    isOnline: async (user, call) =>
      await beats.isOnline(user, tenantOf(call, `${WHERE}.isOnline()`)),
    async online(call = {}) {
      validateOptions(`${WHERE}.online()`, call, ONLINE)
      return await beats.online(call)
    },
    count: async (call) => await beats.count(tenantOf(call, `${WHERE}.count()`)),
    connection: (user, call) => beats.connection(user, tenantOf(call, `${WHERE}.connection()`)),
  }
  const middleware = context.mount(new PresenceFeature(context, options, beats))
  return Object.assign(middleware, api)
}

class PresenceFeature<Native> implements Feature<Native, never> {
  readonly name = 'presence'
  readonly onBackground = 'skip'
  readonly #context: ExtensionContext<Native>
  readonly #user: PresenceOptions<Native>['user']
  readonly #beats: UserBeats

  constructor(
    context: ExtensionContext<Native>,
    { user }: PresenceOptions<Native>,
    beats: UserBeats,
  ) {
    this.#context = context
    this.#user = user
    this.#beats = beats
  }

  /** Notes the user in the background. The request does not wait. */
  handle(x: Exchange<Native>): Plan {
    const user = this.#user === undefined ? x.identity.userId : this.#user(x.native)
    if (isNoUser(user)) return passThrough
    const name = userIdString(user)
    if (name === undefined)
      this.#context.events.warn(
        `presence(): a user of type ${typeof user} is not noted. The user must be ${USER_ID}, and no promise. Set \`user\`: presence(tp, { user: (req) => String(req.user.id) })`,
      )
    if (name === undefined || !isUserName(name)) return passThrough
    if (!this.#context.hasTenants) this.#beats.note(name, undefined)
    else
      void this.#context
        .tenantOf(x.native)
        .then((tenant) => this.#beats.note(name, tenant))
        .catch((error: unknown) =>
          this.#context.events.emit('error', { feature: 'presence', name: 'users', error }),
        )
    return passThrough
  }
}

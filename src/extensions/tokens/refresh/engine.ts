/** Refresh tokens without options to check: users and tokens in, outcomes out. */
import { createHmac, randomBytes } from 'node:crypto'
import type { TokenEvent } from '../../../event-types.ts'
import type { ExtensionContext } from '../../../extension.ts'
import { requireUserId, type UserId } from '../../../user-id.ts'
import { openJson, parseJson, sealJson } from '../json.ts'
import { requireTag, tagOfSubject } from '../subjects.ts'
import {
  base62,
  newSecret,
  newTag,
  SECRET_LENGTH,
  sha256,
  TAG_LENGTH,
  TokenFormat,
} from '../token-format.ts'
import {
  issueFamily,
  listFamilies,
  revokeFamilies,
  revokeFamily,
  rotateFamily,
  type RotateReply,
} from './operations.ts'
import type { RefreshFamily, RefreshToken } from './options.ts'

/** Settings of one kind of refresh tokens; times in ms. */
export interface RefreshSettings {
  readonly name: string
  readonly prefix: string
  readonly ttl: number
  readonly grace: number
  readonly absolute: number
  readonly maxPerUser: number
}

export type RotateOutcome =
  | { readonly kind: 'rotated'; readonly token: RefreshToken }
  | { readonly kind: 'unknown' }
  /** The family is dead, since now or since an earlier call. */
  | { readonly kind: 'reused' }

/**
 * The parts of a token. The user's tag says where the family is stored. Who knows the family's own
 * secret has had a token of it. A token that was never issued cannot end the family.
 */
interface Parts {
  readonly user: string
  readonly family: string
  readonly secret: string
}

const HANDLE_LENGTH = 22

export class RefreshEngine {
  readonly settings: RefreshSettings
  readonly #context: ExtensionContext
  readonly #format: TokenFormat

  constructor(context: ExtensionContext, settings: RefreshSettings) {
    this.#context = context
    this.settings = settings
    this.#format = new TokenFormat(settings.prefix, 2 * TAG_LENGTH + SECRET_LENGTH)
  }

  /** @param data as JSON. @throws TP_KEY, TP_UNAVAILABLE */
  async issue(
    user: UserId,
    data: string,
    tenant: string | undefined,
    where: string,
  ): Promise<RefreshToken> {
    const { ttl, absolute, maxPerUser } = this.settings
    const name = requireUserId(user, where)
    const parts = { user: requireTag(name, where), family: newTag(), secret: newSecret() }
    const family = handleOf(parts)
    const began = this.#context.events.begin('token')
    const expiresInMs = await this.#context.store.run(
      issueFamily,
      [this.#key(parts.user, tenant)],
      [
        family,
        digestOf(parts.secret),
        ttl,
        absolute,
        maxPerUser,
        JSON.stringify(name),
        sealJson(data),
      ],
    )
    this.#tell('issued', name, family, began)
    return {
      token: this.#write(parts),
      family,
      user: name,
      data: JSON.parse(data) as unknown,
      expiresInMs,
    }
  }

  /** @param data as JSON; undefined: as it is. @throws TP_UNAVAILABLE */
  async rotate(
    given: unknown,
    data: string | undefined,
    tenant: string | undefined,
  ): Promise<RotateOutcome> {
    const parts = this.#read(given)
    if (parts === undefined) return { kind: 'unknown' }
    const { ttl, grace } = this.settings
    const family = handleOf(parts)
    const salt = randomBytes(16).toString('base64url')
    const next = digestOf(successorOf(parts.secret, salt))
    const began = this.#context.events.begin('token')
    const reply = await this.#context.store.run(
      rotateFamily,
      [this.#key(parts.user, tenant)],
      [
        family,
        digestOf(parts.secret),
        next,
        salt,
        ttl,
        grace,
        ...(data === undefined ? [] : [sealJson(data)]),
      ],
    )
    return this.#outcomeOf(reply, parts, family, began)
  }

  #outcomeOf(
    reply: RotateReply,
    parts: Parts,
    family: string,
    began: number | undefined,
  ): RotateOutcome {
    const user = reply[0] === 0 ? undefined : userOf(reply[0] > 2 ? reply[1] : reply[3], parts)
    if (user === undefined) {
      this.#tell('refused', undefined, family, began)
      return { kind: 'unknown' }
    }
    if (reply[0] === 3 || reply[0] === 4) {
      this.#tell(reply[0] === 3 ? 'reused' : 'refused', user, family, began)
      return { kind: 'reused' }
    }
    const [kind, salt, expiresInMs, , data] = reply as Extract<RotateReply, [1 | 2, ...unknown[]]>
    this.#tell(kind === 1 ? 'rotated' : 'repeated', user, family, began)
    const token = this.#write({ ...parts, secret: successorOf(parts.secret, salt) })
    return { kind: 'rotated', token: { token, family, user, data: openJson(data), expiresInMs } }
  }

  /** @throws TP_UNAVAILABLE */
  async revoke(given: unknown, tenant: string | undefined): Promise<boolean> {
    const parts = this.#read(given)
    if (parts === undefined) return false
    return await this.#revoke(this.#key(parts.user, tenant), handleOf(parts), undefined)
  }

  /** @throws TP_KEY, TP_UNAVAILABLE */
  async revokeFamily(
    user: UserId,
    family: string,
    tenant: string | undefined,
    where: string,
  ): Promise<boolean> {
    const name = requireUserId(user, where)
    return await this.#revoke(this.#key(requireTag(name, where), tenant), family, name)
  }

  async #revoke(key: string, family: string, user: string | undefined): Promise<boolean> {
    const began = this.#context.events.begin('token')
    const count = await this.#context.store.run(revokeFamily, [key], [family])
    this.#tell('revoked', user, family, began)
    return count === 1
  }

  /** @param except handle of a family; '': none. @throws TP_KEY, TP_UNAVAILABLE */
  async revokeUser(
    user: UserId,
    except: string,
    tenant: string | undefined,
    where: string,
  ): Promise<number> {
    const name = requireUserId(user, where)
    const key = this.#key(requireTag(name, where), tenant)
    const began = this.#context.events.begin('token')
    const count = await this.#context.store.run(revokeFamilies, [key], [except])
    this.#tell('revoked', name, undefined, began)
    return count
  }

  /** @throws TP_KEY, TP_UNAVAILABLE */
  async list(user: UserId, tenant: string | undefined, where: string): Promise<RefreshFamily[]> {
    const key = this.#key(requireTag(requireUserId(user, where), where), tenant)
    const reply = await this.#context.store.run(listFamilies, [key], [])
    const families: RefreshFamily[] = []
    for (let i = 0; i + 4 < reply.length; i += 5) {
      const [created, lastUsed, expires] = reply.slice(i + 1, i + 4).map((ms) => new Date(ms)) as [
        Date,
        Date,
        Date,
      ]
      const [family, data] = [String(reply[i]), openJson(String(reply[i + 4]))]
      families.push({ family, created, lastUsed, expires, data })
    }
    return families
  }

  #key(userTag: string, tenant: string | undefined): string {
    const { keys } = this.#context
    return keys.key('refresh', keys.tag([this.settings.name, userTag], tenant))
  }

  #write({ user, family, secret }: Parts): string {
    return this.#format.write(user + family + secret)
  }

  #read(given: unknown): Parts | undefined {
    const body = this.#format.read(given)
    if (body === undefined) return undefined
    return {
      user: body.slice(0, TAG_LENGTH),
      family: body.slice(TAG_LENGTH, 2 * TAG_LENGTH),
      secret: body.slice(2 * TAG_LENGTH),
    }
  }

  /** @param began what `events.begin()` returned before the store was asked */
  #tell(
    type: TokenEvent['type'],
    user: string | undefined,
    family: string | undefined,
    began: number | undefined,
  ): void {
    const { events } = this.#context
    if (events.hasListeners('token'))
      events.emit('token', {
        feature: 'refreshTokens',
        name: this.settings.name,
        type,
        subject: undefined,
        user,
        family,
        ms: events.since(began),
      })
  }
}

/** Returns undefined for what was changed in Redis: it must not turn a token into that of another user. */
function userOf(json: unknown, { user: tag }: Parts): string | undefined {
  const user = parseJson(String(json))
  return typeof user === 'string' && tagOfSubject(user) === tag ? user : undefined
}

const digestOf = (secret: string): string => sha256(secret).toString('base64url')

const handleOf = ({ family }: Parts): string =>
  sha256(family).toString('base64url').slice(0, HANDLE_LENGTH)

/**
 * Returns the secret that follows another one. Only the holder of the former can make it, and only
 * with the salt in Redis: neither a dump nor an old token is enough.
 */
const successorOf = (secret: string, salt: string): string =>
  base62(createHmac('sha256', secret).update(salt).digest(), SECRET_LENGTH)

/** What refresh tokens ask of the store. Keys, arguments and replies: see the scripts. */
import { operation, type Operation } from '../../../store/store.ts'
import whole from '../../../store/whole.lua'
import { familiesAt, findFamily, keepFamilies, MAX_EARLIER, type Family } from './family.ts'
import familyLua from './family.lua'
import issueLua from './issue.lua'
import listLua from './list.lua'
import revokeLua from './revoke.lua'
import revokeUserLua from './revoke-user.lua'
import rotateLua from './rotate.lua'

const script = (lua: string): string => `${whole}\n${familyLua}\n${lua}`

/** Begins a family. */
export const issueFamily: Operation<number> = operation({
  name: 'refresh.issue',
  lua: script(issueLua),
  memory(database, [key], [handle, token, ttl, absolute, most, user, data], now) {
    const families = familiesAt(database, key!)
    if (families.size >= Number(most)) makeRoom(families, Number(most), now)
    const last = now + Number(absolute)
    const ends = Math.min(now + Number(ttl), last)
    families.set(String(handle), {
      isAlive: true,
      began: now,
      last,
      ends,
      used: now,
      token: String(token),
      earlier: [],
      user: String(user),
      data: String(data),
    })
    keepFamilies(database, key!, families, now)
    return ends - now
  },
})

function makeRoom(families: Map<string, Family>, most: number, now: number): void {
  for (const [handle, { ends }] of families) if (ends <= now) families.delete(handle)
  const worth = ({ isAlive, used }: Family): number => (isAlive ? used : 0)
  const left = [...families].sort(
    ([a, one], [b, other]) => worth(one) - worth(other) || (a < b ? -1 : 1),
  )
  for (const [handle] of left.slice(0, Math.max(0, left.length - most + 1))) families.delete(handle)
}

export type RotateReply =
  | [0]
  | [kind: 1 | 2, salt: string, leftMs: number, user: string, data: string]
  | [kind: 3 | 4, user: string]

/** Exchanges a token for its successor. */
export const rotateFamily: Operation<RotateReply> = operation({
  name: 'refresh.rotate',
  lua: script(rotateLua),
  memory(database, [key], args, now) {
    const [handle, token, next, salt] = args.map(String) as [string, string, string, string]
    const [ttl, grace] = [Number(args[4]), Number(args[5])]
    const families = familiesAt(database, key!)
    const family = findFamily(families, handle, now)
    if (family === undefined) return [0]
    if (!family.isAlive) return [4, family.user]
    const store = (): void => {
      families.set(handle, family)
      keepFamilies(database, key!, families, now)
    }
    const isInGrace = ({ used }: { used: number }): boolean => used + grace > now
    if (family.token === token) {
      if (args.length > 6) family.data = String(args[6])
      const latest = grace > 0 ? [{ token, salt, used: now }] : []
      const earlier = [...latest, ...family.earlier.filter(isInGrace)].slice(0, MAX_EARLIER)
      const ends = Math.min(now + ttl, family.last)
      Object.assign(family, { token: next, earlier, used: now, ends } satisfies Partial<Family>)
      store()
      return [1, salt, ends - now, family.user, family.data]
    }
    const repeated = family.earlier.find((each) => each.token === token && isInGrace(each))
    if (repeated) return [2, repeated.salt, family.ends - now, family.user, family.data]
    Object.assign(family, { isAlive: false, earlier: [], data: 'null' } satisfies Partial<Family>)
    store()
    return [3, family.user]
  },
})

/** Ends one family. */
export const revokeFamily: Operation<number> = operation({
  name: 'refresh.revoke',
  lua: script(revokeLua),
  memory(database, [key], [handle], now) {
    const families = familiesAt(database, key!)
    const family = findFamily(families, String(handle), now)
    families.delete(String(handle))
    keepFamilies(database, key!, families, now)
    return family?.isAlive ? 1 : 0
  },
})

/** Ends all families of a user, but for one. */
export const revokeFamilies: Operation<number> = operation({
  name: 'refresh.revokeUser',
  lua: script(revokeUserLua),
  memory(database, [key], [except], now) {
    const families = familiesAt(database, key!)
    let count = 0
    for (const [handle, { isAlive, ends }] of families) {
      if (handle === String(except)) continue
      families.delete(handle)
      if (isAlive && ends > now) count++
    }
    keepFamilies(database, key!, families, now)
    return count
  },
})

/** Lists the families of a user. */
export const listFamilies: Operation<(string | number)[]> = operation({
  name: 'refresh.list',
  lua: script(listLua),
  memory(database, [key], _args, now) {
    return [...familiesAt(database, key!)]
      .filter(([, { isAlive, ends }]) => isAlive && ends > now)
      .sort(([a, one], [b, other]) => other.used - one.used || (a < b ? -1 : 1))
      .flatMap(([handle, { began, used, ends, data }]) => [handle, began, used, ends, data])
  },
})

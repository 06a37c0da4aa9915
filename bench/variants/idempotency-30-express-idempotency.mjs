import { idempotency } from 'express-idempotency'
import { Redis } from 'ioredis'
import { expressApp, freshKey } from '../apps.mjs'

export const group = 'idempotency'
export const title = 'express-idempotency, a new key each time'
export default ({ url }) => {
  const client = new Redis(url)
  const keep = async (resource) => {
    await client.set(`idem:${resource.idempotencyKey}`, JSON.stringify(resource), 'PX', 86_400_000)
  }
  const dataAdapter = {
    async findByIdempotencyKey(key) {
      const found = await client.get(`idem:${key}`)
      return found === null ? null : JSON.parse(found)
    },
    create: keep,
    update: keep,
    delete: (key) => client.del(`idem:${key}`),
  }
  return expressApp(freshKey(), idempotency({ dataAdapter }))
}

import { turnpike } from 'turnpike/node'

const tp = turnpike({ redis: process.env.REDIS_URL, prefix: 'next' })
const limiter = tp.limiter('route', { limit: 2, window: '1m' })

export const dynamic = 'force-dynamic'

export async function GET(req) {
  await tp.ready()
  const decision = await limiter.consume(req.headers.get('x-user'))
  return Response.json(
    { remaining: decision.remaining, source: decision.source },
    { status: decision.allowed ? 200 : 429 },
  )
}

/** Which commands of Redis the parts of an instance send. docs/store.md has the same table. */
import { BEAT_COMMANDS } from './beat-operations.ts'

/** Commands of every instance. */
export const COMMON_COMMANDS: readonly string[] = ['evalsha', 'eval', 'time', 'info', 'ping']

const words = (text: string): readonly string[] => text.split(' ')

/** Commands by what they are for. */
export const FEATURE_COMMANDS: Readonly<Record<string, readonly string[]>> = {
  'rate limits, login guard, health': words(
    'get mget getrange set setrange del unlink pttl pexpire hget hset hgetall zadd zrange zremrangebyrank zremrangebyscore publish subscribe unsubscribe',
  ),
  sessions: words(
    'get set unlink pttl pexpire mget type getrange setrange zadd zcount zrange zrangebyscore zrem publish subscribe unsubscribe',
  ),
  'idempotency keys, locks, semaphores': words(
    'get set unlink pttl pexpire hset hdel hgetall hmget hstrlen zadd zcard zcount zrange zrangebyscore zrank zrem zscore publish subscribe unsubscribe',
  ),
  'response cache, data': words(
    'get set unlink pttl pexpire getrange exists incrby hget hset hsetnx hmget hlen hdel hscan zadd zcard zpopmin scan publish subscribe unsubscribe',
  ),
  'operations, which are on by default': BEAT_COMMANDS,
  'control, gate, bans': words(
    'get incr hget hgetall hmget hexists hscan hset hdel hlen unlink lpush lindex ltrim lrange zrange pttl pexpire publish subscribe unsubscribe',
  ),
  tokens: words(
    'get set unlink pttl pexpire hget hset hdel hlen hgetall publish subscribe unsubscribe',
  ),
  collections: words(
    'get set unlink pexpire hget hset hdel hlen hgetall hincrby hmget lpush lrange lrem ltrim llen rpush zadd zcard zlexcount zmscore zrange zrangebylex zrem zremrangebyrank zrevrange zrevrank zscore',
  ),
  'flags, maintenance, configuration': words(
    'get set pttl pexpire lpush lrange ltrim publish subscribe unsubscribe',
  ),
  realtime: words(
    'del pexpire hdel hget hgetall hset zadd zcard zrange zrangebylex zrangebyscore zrem zremrangebyrank zremrangebyscore zrevrangebyscore zscore xadd xrange xrevrange publish subscribe unsubscribe',
  ),
}

/** Commands that ioredis sends to a Cluster. */
export const CLUSTER_COMMANDS: readonly string[] = [
  'cluster|slots',
  'cluster|info',
  'client|setname',
]

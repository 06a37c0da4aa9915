-- Writes what a process says of itself and has counted since it wrote last.
-- KEYS[1]  processes, by the time at which they wrote last, ms since the epoch
-- KEYS[2]  hash: this process
-- KEYS[3]  description of what it has mounted, under the digest of the description
-- KEYS[4]  hash: counts of this minute
-- KEYS[5]  refused subjects of this hour, by number of refusals
-- ARGV[1]  the process
-- ARGV[2]  the description, or '' if it is probably stored
-- ARGV     then three lists of pairs, each preceded by the number of its pairs: fields of the process,
--          counts to add, refusals to add
-- Reply: { 1 if the description is stored, number of live processes, Redis's time in ms }
local at = 3
local function next_pairs()
  local count = tonumber(ARGV[at])
  local first = at + 1
  at = first + 2 * count
  return first, at - 1
end

redis.call('ZADD', KEYS[1], whole(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - 3600000))
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -2001)
keep(KEYS[1], 3600000)

local first, last = next_pairs()
redis.call('HSET', KEYS[2], unpack(ARGV, first, last))
keep(KEYS[2], 35000)

local known = 1
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[3], ARGV[2], 'PX', 86400000)
else
  known = redis.call('PEXPIRE', KEYS[3], 86400000)
end

first, last = next_pairs()
if first < last then
  local fields = redis.call('HLEN', KEYS[4])
  for i = first, last, 2 do
    local field = ARGV[i]
    if redis.call('HEXISTS', KEYS[4], field) == 0 then
      if fields >= 4000 then field = 'other' else fields = fields + 1 end
    end
    redis.call('HINCRBY', KEYS[4], field, ARGV[i + 1])
  end
  keep(KEYS[4], 7200000)
end

first, last = next_pairs()
if first < last then
  for i = first, last, 2 do redis.call('ZINCRBY', KEYS[5], ARGV[i + 1], ARGV[i]) end
  redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -501)
  keep(KEYS[5], 3600000)
end

return { known, redis.call('ZCOUNT', KEYS[1], whole(now - 25000), '+inf'), now }

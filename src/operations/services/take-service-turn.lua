-- Lets one process check a service in each interval. Intervals are counted from the epoch.
-- KEYS[1]  turn: when the last check began, ms since the epoch
-- KEYS[2]  hash: the service
-- ARGV     ms of the interval
-- Reply: { the turn, which the result of the check must carry, or '0' if another process has it,
--          status of the service or '' }
local status = redis.call('HGET', KEYS[2], 'status') or ''
local turn = tonumber(redis.call('GET', KEYS[1]) or '0')
-- A time in the future is of a clock that was set back.
if turn <= now and turn >= now - now % tonumber(ARGV[1]) then return { '0', status } end
redis.call('SET', KEYS[1], whole(now))
keep(KEYS[1], 2 * ARGV[1])
return { whole(now), status }

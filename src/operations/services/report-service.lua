-- Stores the result of a check, or what a service says of itself.
-- KEYS[1]  hash: the service
-- KEYS[2]  services, by the time until which they are kept, ms since the epoch
-- KEYS[3]  turn: when the last check began
-- ARGV     service, turn of the check or '' for a report, status, 1 if the service failed else 0,
--          ms to keep it, ms to keep the list, largest number of services, number of outcomes that
--          the error rate is of; then further fields and their values
-- Reply: { 'stored', or 'late' if another check has begun since, or 'full', status before or '' }
local name, turn, status, outcome, ms, all_ms, most, remembered = unpack(ARGV, 1, 8)
-- A process that was frozen must not overwrite the result of a later check.
if turn ~= '' and redis.call('GET', KEYS[3]) ~= turn then return { 'late', '' } end
local before = redis.call('HGET', KEYS[1], 'status') or ''
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', whole(now))
if before == '' and redis.call('ZCOUNT', KEYS[2], '-inf', '+inf') >= tonumber(most) then
  return { 'full', '' }
end
local outcomes = string.sub(outcome .. (redis.call('HGET', KEYS[1], 'outcomes') or ''), 1, tonumber(remembered))
local _, failures = string.gsub(outcomes, '1', '')
local rate = math.floor(1000 * failures / #outcomes + 0.5) / 1000
-- Fields of the report before do not hold any more.
redis.call('UNLINK', KEYS[1])
redis.call('HSET', KEYS[1], 'status', status, 'last_check', whole(now), 'error_rate', string.format('%.3f', rate), 'outcomes', outcomes, unpack(ARGV, 9, #ARGV - 1))
keep(KEYS[1], ms)
redis.call('ZADD', KEYS[2], whole(now + ms), name)
keep(KEYS[2], all_ms)
return { 'stored', before }

-- Issues a token in place of the former one, unless it is too early.
-- KEYS[1]  the record, see record.lua
-- ARGV[1]  digest of the token
-- ARGV[2]  payload
-- ARGV[3]  time to live, ms
-- ARGV[4]  wrong tokens until this one is void; 0: any number
-- ARGV[5]  pause until another one may be issued, ms
-- ARGV[6]  longest pause, ms
-- Reply: 0, or ms until one may be issued
local before = parse(redis.call('GET', KEYS[1]))
if before and before.pause > now then return before.pause - now end
local failures = before and before.failures or 0
local attempts = tonumber(ARGV[4])
local record = {
  token = ARGV[1], payload = ARGV[2], left = attempts, failures = failures, ends = now + tonumber(ARGV[3]),
  pause = now + pauseAfter(failures, attempts, tonumber(ARGV[5]), tonumber(ARGV[6]))
}
redis.call('SET', KEYS[1], format(record))
keep(KEYS[1], lifeOf(record))
return 0

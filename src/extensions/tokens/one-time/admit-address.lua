-- Admits a use by an address, or takes it back (GCRA).
-- KEYS[1]  when the address will have used nothing again, ms since the epoch
-- ARGV[1]  the window, ms
-- ARGV[2]  what a use takes of it, ms; negative: take it back
-- Reply: 0, or ms until one is admitted
local window, use = tonumber(ARGV[1]), tonumber(ARGV[2])
local free = math.max(tonumber(redis.call('GET', KEYS[1]) or '0') or 0, now) + use
if free > now + window then return free - now - window end
if free <= now then
  redis.call('UNLINK', KEYS[1])
else
  redis.call('SET', KEYS[1], whole(free))
  keep(KEYS[1], free - now)
end
return 0

-- Sets the time to live of an entry or a counter.
-- KEYS[1]  the entry
-- ARGV[1]  the time to live in ms
-- Reply: 1, or 0 if there is none
local key, life = KEYS[1], tonumber(ARGV[1])
if string.match(redis.call('GETRANGE', key, 0, 16), '^TPC1%d+$') then
  redis.call('SETRANGE', key, 4, string.format('%013.0f', now + life))
end
return redis.call('PEXPIRE', key, life)

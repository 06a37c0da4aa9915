-- Gives a lease back without an entry.
-- KEYS[1]  the lease
-- ARGV[1]  its token
-- ARGV[2]  channel for those who wait; and [3] what they are told
-- Reply: 1, or 0 if the lease was lost
local lease = redis.call('GET', KEYS[1])
if not lease then return 0 end
local over, holder = string.match(lease, '^(%d+):([^!]*)')
if holder ~= ARGV[1] or tonumber(over) <= now then return 0 end
redis.call('UNLINK', KEYS[1])
if string.sub(lease, -1) == '!' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return 1

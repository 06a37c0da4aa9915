-- Releases a lease without an entry.
-- KEYS[1]  the lease
-- ARGV[1]  its token
-- ARGV[2]  the channel of waiting processes; [3] the message for them
-- ARGV[4]  how long fills are paused, in ms: the response could not be stored; 0: not at all
-- Reply: 1, or 0 if the lease was lost
local lease = redis.call('GET', KEYS[1])
if not lease then return 0 end
local over, holder = string.match(lease, '^(%d+):([^!]*)')
if holder ~= ARGV[1] or tonumber(over) <= now then return 0 end
local pause = tonumber(ARGV[4])
if pause > 0 then redis.call('SET', KEYS[1], string.format('%.0f', now + pause) .. ':-', 'PX', pause)
else redis.call('UNLINK', KEYS[1]) end
if string.sub(lease, -1) == '!' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return 1

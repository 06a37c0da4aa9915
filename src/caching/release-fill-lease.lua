-- Gives a lease back without an entry.
-- KEYS[1]  the lease
-- ARGV[1]  its token
-- ARGV[2]  channel for those who wait; and [3] what they are told
-- ARGV[4]  for so many ms nobody shall have it: no entry would come of it; 0: whoever wants it next
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

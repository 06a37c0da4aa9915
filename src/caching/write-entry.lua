-- Writes or removes an entry outright. Whoever was making one holds a lease that is gone: what it
-- has read is older than this, and it will not be stored.
-- KEYS[1]  the entry
-- KEYS[2]  its lease
-- ARGV[1]  the entry; '': remove it
-- ARGV[2]  its life in ms
-- ARGV[3]  channel for those who wait; and [4] what they are told
-- Reply: 1 if there was an entry before, else 0
local before = redis.call('EXISTS', KEYS[1])
if ARGV[1] == '' then redis.call('UNLINK', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
local lease = redis.call('GET', KEYS[2])
if lease then
  redis.call('UNLINK', KEYS[2])
  if string.sub(lease, -1) == '!' then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
end
return before

-- Writes or removes an entry, and removes its lease. A fill that is under way read older data, so
-- it must not be stored after this.
-- KEYS[1]  the entry
-- KEYS[2]  its lease
-- ARGV[1]  the entry; '': remove it
-- ARGV[2]  its time to live in ms
-- ARGV[3]  the channel of waiting processes; [4] the message for them
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

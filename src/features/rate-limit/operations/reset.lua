-- Deletes the states of a subject, and publishes that to the other processes.
-- KEYS     the states
-- ARGV[1]  channel, '': publish nothing
-- ARGV[2]  message
-- Reply: how many of the keys existed
local count = 0
for i = 1, #KEYS do
  count = count + redis.call('UNLINK', KEYS[i])
end
if ARGV[1] ~= '' then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return count

-- Forgets what a subject has used, and tells the other processes.
-- KEYS     the states to forget
-- ARGV[1]  channel, '': tell nobody
-- ARGV[2]  message
-- Reply: how many of the keys were there
local count = 0
for i = 1, #KEYS do
  count = count + redis.call('UNLINK', KEYS[i])
end
if ARGV[1] ~= '' then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return count

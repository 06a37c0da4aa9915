-- Removes all rules, or those of bans, and notes who has done it.
-- KEYS[1]  rules by ID, as write-rule.lua stores them
-- KEYS[2]  the audit, the newest first
-- ARGV[1]  'all' | 'bans'
-- ARGV[2]  time to live of the rules, ms
-- ARGV[3]  nonce of the new version
-- ARGV[4]  channel where the change is published: version and version before, by line
-- ARGV[5]  entry of the audit
-- ARGV[6]  largest number of entries
-- ARGV[7]  time to live of the audit, ms
-- Reply: number of rules removed
local all = redis.call('HGETALL', KEYS[1])
local count, before = 0, ''
for i = 1, #all, 2 do
  if all[i] == '!' then
    before = all[i + 1]
  elseif ARGV[1] == 'all' or string.find(all[i + 1], '"ban":"[%w_.-]+"}$') then
    redis.call('HDEL', KEYS[1], all[i])
    count = count + 1
  end
end
if count == 0 then return 0 end
-- No rule has the ID '*': processes read all rules.
local writes = tonumber(string.match(before, '^(%d+)%.') or '0')
local version = whole(writes + 1) .. '.' .. ARGV[3] .. ' *'
redis.call('HSET', KEYS[1], '!', version)
keep(KEYS[1], ARGV[2])
redis.call('LPUSH', KEYS[2], whole(now) .. ' ' .. ARGV[5])
redis.call('LTRIM', KEYS[2], 0, ARGV[6] - 1)
keep(KEYS[2], ARGV[7])
redis.call('PUBLISH', ARGV[4], version .. '\n' .. before)
return count

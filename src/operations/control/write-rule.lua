-- Sets or removes a rule, and notes who has done it. A rule is '<set at> <ends at, 0: never> <details>'.
-- KEYS[1]  rules by ID. Their version '<number of writes>.<nonce> <ID that was written last>' is in the
--          field '!'
-- KEYS[2]  the audit, the newest first
-- KEYS[3]  optional: times of the last bans, the newest first. Then the rule is a ban, and replaces no rule
-- ARGV[1]  ID of the rule
-- ARGV[2]  its details, '' to remove it
-- ARGV[3]  ms until it ends, 0: never
-- ARGV[4]  largest number of rules
-- ARGV[5]  time to live of the rules, ms
-- ARGV[6]  nonce of the new version
-- ARGV[7]  channel where the change is published: version and version before, by line
-- ARGV[8]  entry of the audit
-- ARGV[9]  largest number of entries
-- ARGV[10] time to live of the audit, ms
-- ARGV[11] with KEYS[3]: largest number of bans within a minute
-- Reply: { 1, version, version before, rule }; { 0 } if there is no rule to remove; { -1 } if there are
-- too many rules; { -2 } if a ban finds a rule; { -3 } if there were too many bans within a minute
local id, details, most = ARGV[1], ARGV[2], tonumber(ARGV[4])
local exists = redis.call('HEXISTS', KEYS[1], id) == 1
if details == '' and not exists then return { 0 } end
if KEYS[3] then
  local ends = exists and tonumber(string.match(redis.call('HGET', KEYS[1], id), '^%d+ (%d+) ') or '0')
  if ends and (ends == 0 or ends > now) then return { -2 } end
  local oldest = redis.call('LINDEX', KEYS[3], ARGV[11] - 1)
  if oldest and tonumber(oldest) > now - 60000 then return { -3 } end
end
if not exists and redis.call('HLEN', KEYS[1]) > most then
  -- Rules that have ended stay until their room is needed.
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local ends = tonumber(string.match(all[i + 1], '^%d+ (%d+) ') or '0')
    if all[i] ~= '!' and ends > 0 and ends <= now then redis.call('HDEL', KEYS[1], all[i]) end
  end
  if redis.call('HLEN', KEYS[1]) > most then return { -1 } end
end
local before = redis.call('HGET', KEYS[1], '!') or ''
local rule = ''
if details == '' then
  redis.call('HDEL', KEYS[1], id)
else
  local ends = tonumber(ARGV[3])
  if ends > 0 then ends = now + ends end
  rule = whole(now) .. ' ' .. whole(ends) .. ' ' .. details
  redis.call('HSET', KEYS[1], id, rule)
end
local count = tonumber(string.match(before, '^(%d+)%.') or '0')
local version = whole(count + 1) .. '.' .. ARGV[6] .. ' ' .. id
redis.call('HSET', KEYS[1], '!', version)
keep(KEYS[1], ARGV[5])
redis.call('LPUSH', KEYS[2], whole(now) .. ' ' .. ARGV[8])
redis.call('LTRIM', KEYS[2], 0, ARGV[9] - 1)
keep(KEYS[2], ARGV[10])
if KEYS[3] then
  redis.call('LPUSH', KEYS[3], whole(now))
  redis.call('LTRIM', KEYS[3], 0, ARGV[11] - 1)
  keep(KEYS[3], 60000)
end
redis.call('PUBLISH', ARGV[7], version .. '\n' .. before)
return { 1, version, before, rule }

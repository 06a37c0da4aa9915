-- Invalidates tags. The cost does not depend on the number of entries that have them.
-- KEYS[1]  the invalidation log
-- ARGV[1]  a random nonce for a new log
-- ARGV[2]  how long the log outlives the longest-lived entry, in ms
-- ARGV[3]  maximum number of fields; beyond it a new log begins, and every entry is invalid
-- ARGV[4]  'hard', 'soft' (the entries become stale) or 'glob'
-- ARGV[5]  the channel where it is published
-- ARGV     then the fields: tags, or patterns for 'glob'
-- Reply: { nonce, the new sequence }, as strings
local key, mode = KEYS[1], ARGV[4]
if redis.call('HLEN', key) > tonumber(ARGV[3]) then redis.call('UNLINK', key) end
if redis.call('HSETNX', key, '!', ARGV[1]) == 1 then redis.call('HSET', key, '#', '0', '~', '0') end
local head = redis.call('HMGET', key, '!', '#', '~', '?')
local nonce, before, life = head[1], head[2], tonumber(head[3])
-- A hybrid logical clock (Kulkarni et al., 2014). It never goes back, even if a failover has lost
-- the last few invalidations.
local after = math.max(tonumber(before) + 1, now)
local sequence = string.format('%.0f', after)
redis.call('HSET', key, '#', sequence)
for i = 6, #ARGV - 1 do
  local field = ARGV[i]
  if mode == 'hard' then
    redis.call('HSET', key, field, sequence)
  elseif mode == 'soft' then
    local hard = string.match(redis.call('HGET', key, field) or '0', '^%d+')
    redis.call('HSET', key, field, hard .. ',' .. sequence)
  else
    local kept, count = sequence .. ' ' .. field, 1
    for line in string.gmatch(head[4] or '', '[^\n]+') do
      local at, glob = string.match(line, '^(%d+) (.*)$')
      if tonumber(at) >= now - life - tonumber(ARGV[2]) and glob ~= field then
        kept, count = kept .. '\n' .. line, count + 1
      end
    end
    -- Every lookup reads the patterns. If there are too many, everything is invalid instead.
    if count > 16 then redis.call('HSET', key, '*', sequence, '?', '')
    else redis.call('HSET', key, '?', kept) end
  end
end
redis.call('PEXPIRE', key, life + tonumber(ARGV[2]))
local news = { nonce, before, sequence, mode }
for i = 6, #ARGV - 1 do news[#news + 1] = ARGV[i] end
redis.call('PUBLISH', ARGV[5], cjson.encode(news))
return { nonce, sequence }

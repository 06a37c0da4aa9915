-- Marks tags as invalidated, whatever the number of entries that bear them.
-- KEYS[1]  the record of invalidations
-- ARGV[1]  a random nonce, for a record that is not there (any more)
-- ARGV[2]  how long the record outlives the longest-lived entry, in ms
-- ARGV[3]  how many fields it may have; beyond that it begins anew, and everything is invalid
-- ARGV[4]  'hard', 'soft' (stale, but still to be served where that is allowed) or 'glob'
-- ARGV[5]  channel that hears of it
-- ARGV     then the fields: tags; for 'glob' one pattern
-- Reply: { nonce, the new sequence }, as texts
local key, mode = KEYS[1], ARGV[4]
if redis.call('HLEN', key) > tonumber(ARGV[3]) then redis.call('UNLINK', key) end
if redis.call('HSETNX', key, '!', ARGV[1]) == 1 then redis.call('HSET', key, '#', '0', '~', '0') end
local head = redis.call('HMGET', key, '!', '#', '~', '?')
local nonce, before, life = head[1], head[2], tonumber(head[3])
-- A hybrid logical clock (Kulkarni et al., 2014): it never goes back, not even when a failover has
-- lost the last few steps.
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
    -- Every lookup reads the patterns: where there are too many, everything is invalid instead.
    if count > 16 then redis.call('HSET', key, '*', sequence, '?', '')
    else redis.call('HSET', key, '?', kept) end
  end
end
redis.call('PEXPIRE', key, life + tonumber(ARGV[2]))
local news = { nonce, before, sequence, mode }
for i = 6, #ARGV - 1 do news[#news + 1] = ARGV[i] end
redis.call('PUBLISH', ARGV[5], cjson.encode(news))
return { nonce, sequence }

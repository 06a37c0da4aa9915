-- Makes sure that the record of invalidations is there, and stays longer than any entry.
-- KEYS[1]  the record
-- ARGV[1]  a random nonce, if there is none
-- ARGV[2]  how long entries may live, in ms
-- ARGV[3]  how long the record outlives the longest-lived of them, in ms
-- Reply: { nonce, sequence, longest life in ms }, as texts
local key = KEYS[1]
if redis.call('HSETNX', key, '!', ARGV[1]) == 1 then
  redis.call('HSET', key, '#', string.format('%.0f', now), '~', '0')
end
local head = redis.call('HMGET', key, '!', '#', '~')
local life = head[3]
if tonumber(ARGV[2]) > tonumber(life) then
  life = ARGV[2]
  redis.call('HSET', key, '~', life)
end
redis.call('PEXPIRE', key, tonumber(life) + tonumber(ARGV[3]))
return { head[1], head[2], life }

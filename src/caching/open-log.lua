-- Creates the invalidation log if there is none, and keeps it longer than any entry.
-- KEYS[1]  the log
-- ARGV[1]  a random nonce for a new log
-- ARGV[2]  how long an entry lives, in ms
-- ARGV[3]  how long the log outlives the longest-lived entry, in ms
-- Reply: { nonce, sequence, longest life in ms }, as strings
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

-- Looks a request up by its key, and claims it if nobody has, or nobody does any more.
-- KEYS[1]  the record: a hash of
--            s  state: 'p' running, 'r' released after a step, 'c' answered, 'm' answered, but the body was too long
--            f  fingerprint of the request    o  owner          l  end of the lease, ms since the epoch
--            t  fencing token                 n  attempts       e  end of the record, ms since the epoch
--            a  head of the answer: status, a space, headers    b  its body
--            w  channel of those who wait for the answer, if somebody does
--            =<name>  what a step came to
-- ARGV[1]  fingerprint
-- ARGV[2]  owner
-- ARGV[3]  lease, ms
-- ARGV[4]  how long the record is kept, ms
-- ARGV[5]  '1': what was interrupted is not run again
-- ARGV[6]  channel to be told on, if it is running; '': nobody waits
-- Reply: { 1, token, attempt, step, value, ... }  claimed
--        { 2, head, body }  answered
--        { 3, ms }  running, under a lease of so much more
--        { 4 }  the key belongs to another request
--        { 5, head }  answered, but the body was too long to keep
--        { 6 }  interrupted
local r = redis.call('HMGET', KEYS[1], 's', 'f', 'l', 't', 'n', 'e')
local attempt, last = 1, 0
if r[1] then
  if tonumber(r[6]) <= now then
    redis.call('UNLINK', KEYS[1])
  else
    if r[2] ~= ARGV[1] then return { 4 } end
    if r[1] == 'c' then
      local answer = redis.call('HMGET', KEYS[1], 'a', 'b')
      return { 2, answer[1], answer[2] }
    end
    if r[1] == 'm' then return { 5, redis.call('HGET', KEYS[1], 'a') } end
    local left = tonumber(r[3]) - now
    if left > 0 then
      if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'w', ARGV[6]) end
      return { 3, left }
    end
    if r[1] == 'p' and ARGV[5] == '1' then return { 6 } end
    attempt, last = tonumber(r[5]) + 1, tonumber(r[4])
  end
end
-- Microseconds: tokens grow even if the record was lost; at least one more, so that they do if the clock is set back.
local token = math.max(last + 1, micros)
redis.call('HSET', KEYS[1], 's', 'p', 'f', ARGV[1], 'o', ARGV[2], 'l', whole(now + tonumber(ARGV[3])),
  't', whole(token), 'n', attempt, 'e', whole(now + tonumber(ARGV[4])))
keep(KEYS[1], tonumber(ARGV[4]))
local reply = { 1, token, attempt }
if attempt > 1 then
  local fields = redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == '=' then
      reply[#reply + 1] = string.sub(fields[i], 2)
      reply[#reply + 1] = fields[i + 1]
    end
  end
end
return reply

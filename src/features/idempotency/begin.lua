-- Looks a request up by its key. Claims it if no attempt has claimed it, or if the last one did not end.
-- KEYS[1]  the record: a hash of
--            f  state, fingerprint of the request (43 characters) and owner, without separators; the
--               state is 'p' running, 'r' released, 'c' completed
--            l  end of the record; unless it is completed also end of the lease, fencing token and
--               number of attempts; times in ms since the epoch
--            a  the stored response: status, a space, headers; a line feed and the body, unless that
--               was too long
--            w  channel of the requests that wait for the response, if there are any
--            k  set if there are steps
--            =<name>  result of a step
-- ARGV[1]  fingerprint and owner
-- ARGV[2]  channel on which to be notified if it is running; left out by a request that does not wait
-- LEASE, KEPT and CONFLICT belong to the mount: length of a lease and lifetime of a record, in ms, and
-- whether an interrupted request is not run again
-- Reply: token  claimed for the first attempt
--        { 1, token, attempt, step, result, ... }  claimed for another attempt
--        { 2, response }  completed; a number in its place: the response is large
--        { 3, ms }  running, under a lease of so much more
--        { 4 }  the key belongs to another request
--        { 6 }  interrupted
local r = redis.call('HMGET', KEYS[1], 'f', 'l')
local attempt, last = 1, 0
if r[1] then
  local ends, lease, token, attempts = times(r[2])
  if ends <= now then
    redis.call('UNLINK', KEYS[1])
  else
    if string.sub(r[1], 2, 44) ~= string.sub(ARGV[1], 1, 43) then return { 4 } end
    local state = string.sub(r[1], 1, 1)
    if state == 'c' then
      -- A large response must not pass through Lua: it would hold up all other commands.
      local length = redis.call('HSTRLEN', KEYS[1], 'a')
      if length > 65536 then return { 2, length } end
      return { 2, redis.call('HMGET', KEYS[1], 'a')[1] }
    end
    if lease > now then
      if #ARGV > 2 then redis.call('HSET', KEYS[1], 'w', ARGV[2]) end
      return { 3, lease - now }
    end
    if state == 'p' and CONFLICT then return { 6 } end
    attempt, last = attempts + 1, token
  end
end
-- Microseconds: tokens grow even if the record was lost. At least one more: they grow even if the clock is set back.
local token = math.max(last + 1, micros)
redis.call('HSET', KEYS[1], 'f', 'p' .. ARGV[1], 'l', times_field(now + KEPT, now + LEASE, token, attempt))
keep(KEYS[1], KEPT)
if attempt == 1 then return token end
local reply = { 1, token, attempt }
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 1) == '=' then
    reply[#reply + 1] = string.sub(fields[i], 2)
    reply[#reply + 1] = fields[i + 1]
  end
end
return reply

-- Moves an alert to its next state. The process that gets a change notifies of it, and no other does.
-- KEYS[1]  hash: state, since, notifiedAt, goodSince
-- KEYS[2]  until when the alert is silenced, ms since the epoch: until then it stays as it is
-- ARGV     verdict (bad, between, good), ms that it must be bad or good, ms between reminders, ms to keep it
-- Reply: { change, since when it was bad }
if (tonumber(redis.call('GET', KEYS[2]) or '0')) > now then return { 'none', '0' } end
local verdict, needed, remind = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local function field(name) return redis.call('HGET', KEYS[1], name) end
local state = field('state')
local since = tonumber(field('since') or now)

local function store(next_state, notified, good)
  redis.call('HSET', KEYS[1], 'state', next_state, 'since', whole(since), 'notifiedAt', whole(notified), 'goodSince', whole(good))
  keep(KEYS[1], ARGV[4])
end

if state ~= 'firing' then
  if verdict ~= 'bad' then
    redis.call('UNLINK', KEYS[1])
    return { 'none', '0' }
  end
  if now - since < needed then
    store('pending', 0, 0)
    return { 'none', whole(since) }
  end
  store('firing', now, 0)
  return { 'firing', whole(since) }
end

local good = 0
if verdict == 'good' then
  good = tonumber(field('goodSince') or 0)
  if good == 0 then good = now end
  if now - good >= needed then
    redis.call('UNLINK', KEYS[1])
    return { 'resolved', whole(since) }
  end
end
local notified = tonumber(field('notifiedAt') or 0)
local change = 'none'
if remind > 0 and now - notified >= remind then
  notified = now
  change = 'reminder'
end
store('firing', notified, good)
return { change, whole(since) }
